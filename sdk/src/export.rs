//! Turns a trait into a component of one world: a macro for each world, and the glue that they expand to.
//!
//! The glue is ordinary generic code; the macros only name the world, the plugin's type and its package.

use std::cell::OnceCell;
use std::marker::PhantomData;
use std::time::Duration;

use crate::bindings::exports::tidegate::dr as exported;
use crate::contract::{
    Call, Cluster, Decision, Done, Fact, Failure, Finding, Manifest, Message, Object, Page, Problem, Proof, Route,
    Situation, StorageClass, SyncSet, Timestamp, Want,
};
use crate::policy::{CostPolicy, FailoverPolicy, RetentionPolicy, TieringPolicy};
use crate::provider::{
    Action, Declared, Dns, Download, Notify, Probe, Provider, Replication, Signal, Storage, StorageRead, Upload,
    argument,
};
use crate::settings::{parse, reread};
use crate::{cost, retention, tiering};

/// What a plugin's crate says of it; the macros fill it in from `Cargo.toml` and from the plugin's trait.
#[doc(hidden)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub summary: &'static str,
    pub memo_format: &'static str,
    pub wants: fn() -> Vec<Want>,
    pub schema: fn() -> String,
    pub check: fn(&str) -> Result<(), Vec<Problem>>,
}

/// A plugin, once one of the macros was called for it.
pub trait Packaged {
    #[doc(hidden)]
    const PACKAGE: Package;
}

/// Where the one instance of a provider lives; the macros implement it.
#[doc(hidden)]
pub trait Instance: Provider {
    fn with<R>(use_it: impl FnOnce(&OnceCell<Self>) -> R) -> R;
}

/// What a plugin tells about itself: the same as its component does.
pub fn manifest<T: Packaged>() -> Manifest {
    let package = T::PACKAGE;
    Manifest {
        name: package.name.to_owned(),
        version: package.version.to_owned(),
        summary: package.summary.to_owned(),
        settings_schema: (package.schema)(),
        wants: (package.wants)(),
        memo_format: package.memo_format.to_owned(),
    }
}

/// What a plugin says to settings (JSON): the same as its component does.
pub fn check_settings<T: Packaged>(settings: &str) -> Result<(), Vec<Problem>> {
    (T::PACKAGE.check)(settings)
}

/// The component's functions for a plugin `T`.
#[doc(hidden)]
pub struct Component<T>(PhantomData<T>);

impl<T: Packaged> exported::plugin::Guest for Component<T> {
    fn describe() -> Manifest {
        manifest::<T>()
    }

    fn check_settings(settings: String) -> Result<(), Vec<Problem>> {
        check_settings::<T>(&settings)
    }
}

impl<T: FailoverPolicy> exported::failover_policy::Guest for Component<T> {
    fn decide(situation: Situation) -> Result<Decision, String> {
        reread::<T>(&situation.settings)?.decide(&situation)
    }
}

impl<T: RetentionPolicy> exported::retention_policy::Guest for Component<T> {
    fn select(request: retention::Request) -> Result<Vec<retention::Choice>, String> {
        reread::<T>(&request.settings)?.select(&request)
    }
}

impl<T: TieringPolicy> exported::tiering_policy::Guest for Component<T> {
    fn place(request: tiering::Request) -> Result<Vec<tiering::Choice>, String> {
        reread::<T>(&request.settings)?.place(&request)
    }
}

impl<T: CostPolicy> exported::cost_policy::Guest for Component<T> {
    fn advise(request: cost::Request) -> Result<cost::Advice, String> {
        reread::<T>(&request.settings)?.advise(&request)
    }
}

impl<T: Instance> exported::provider::Guest for Component<T> {
    fn configure(setup: exported::provider::Setup) -> Result<(), Vec<Problem>> {
        let provider = T::configure(parse(&setup.settings)?, Declared::new(setup.declared))?;
        T::with(|cell| cell.set(provider)).map_err(|_| vec![Problem::new("", "this instance is configured already")])
    }

    fn ready(name: String) -> Result<Vec<Fact>, Failure> {
        configured(|provider: &T| provider.ready(&name))
    }
}

impl<T: Instance + Probe> exported::probe::Guest for Component<T> {
    fn check(target: String, timeout: u64) -> Result<Finding, Failure> {
        configured(|provider: &T| provider.check(argument("target", &target)?, Duration::from_millis(timeout)))
    }
}

impl<T: Instance + Signal> exported::signal::Guest for Component<T> {
    fn sample(query: String, timeout: u64) -> Result<f64, Failure> {
        configured(|provider: &T| provider.sample(argument("query", &query)?, Duration::from_millis(timeout)))
    }
}

impl<T: Instance + Replication> exported::replication::Guest for Component<T> {
    fn topology(name: String) -> Result<Cluster, Failure> {
        configured(|provider: &T| provider.topology(&name))
    }
}

impl<T: Instance + Replication> exported::replication_control::Guest for Component<T> {
    fn fence(cluster: String, node: String, call: Call) -> Result<Proof, Failure> {
        configured(|provider: &T| provider.fence(&cluster, &node, &call))
    }

    fn unfence(cluster: String, node: String, call: Call) -> Result<(), Failure> {
        configured(|provider: &T| provider.unfence(&cluster, &node, &call))
    }

    fn detach(cluster: String, node: String, call: Call) -> Result<(), Failure> {
        configured(|provider: &T| provider.detach(&cluster, &node, &call))
    }

    fn catch_up(cluster: String, node: String, source: String, call: Call) -> Result<(), Failure> {
        configured(|provider: &T| provider.catch_up(&cluster, &node, &source, &call))
    }

    fn promote(cluster: String, node: String, call: Call) -> Result<(), Failure> {
        configured(|provider: &T| provider.promote(&cluster, &node, &call))
    }

    fn rejoin(cluster: String, node: String, primary: String, call: Call) -> Result<(), Failure> {
        configured(|provider: &T| provider.rejoin(&cluster, &node, &primary, &call))
    }

    fn set_synchronous(cluster: String, node: String, set: SyncSet, call: Call) -> Result<(), Failure> {
        configured(|provider: &T| provider.set_synchronous(&cluster, &node, set, &call))
    }

    fn verify(cluster: String, node: String, checks: Vec<String>, call: Call) -> Result<Vec<String>, Failure> {
        configured(|provider: &T| provider.verify(&cluster, &node, &checks, &call))
    }
}

impl<T: Instance + Dns> exported::dns::Guest for Component<T> {
    fn resolve(name: String) -> Result<Route, Failure> {
        configured(|provider: &T| provider.resolve(&name))
    }
}

impl<T: Instance + Dns> exported::dns_control::Guest for Component<T> {
    fn preview(route: Route) -> Result<Route, Failure> {
        configured(|provider: &T| provider.preview(route))
    }

    fn apply(routes: Vec<Route>, call: Call) -> Vec<Result<Route, Failure>> {
        let count = routes.len();
        configured(|provider: &T| Ok(provider.apply(routes, &call))).unwrap_or_else(|failure| vec![Err(failure); count])
    }
}

impl<T: Instance + StorageRead> exported::storage::Guest for Component<T> {
    fn list_objects(bucket: String, prefix: String, cursor: Option<String>, limit: u32) -> Result<Page, Failure> {
        configured(|provider: &T| provider.list_objects(&bucket, &prefix, cursor.as_deref(), limit))
    }

    fn stat(bucket: String, key: String) -> Result<Object, Failure> {
        configured(|provider: &T| provider.stat(&bucket, &key))
    }
}

impl<T: Instance + Storage> exported::storage_control::Guest for Component<T> {
    type Upload = Handle<T::Upload>;
    type Download = Handle<T::Download>;

    fn put(
        bucket: String,
        key: String,
        into: StorageClass,
        if_absent: bool,
        tags: Vec<Fact>,
        call: Call,
    ) -> Result<exported::storage_control::Upload, Failure> {
        configured(|provider: &T| provider.put(&bucket, &key, into, if_absent, tags, &call))
            .map(|upload| exported::storage_control::Upload::new(Handle(upload)))
    }

    fn get(
        bucket: String,
        key: String,
        version: Option<String>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<exported::storage_control::Download, Failure> {
        configured(|provider: &T| provider.get(&bucket, &key, version.as_deref(), offset, length))
            .map(|download| exported::storage_control::Download::new(Handle(download)))
    }

    fn copy(bucket: String, key: String, to_bucket: String, to_key: String, call: Call) -> Result<Object, Failure> {
        configured(|provider: &T| provider.copy(&bucket, &key, &to_bucket, &to_key, &call))
    }

    fn store_as(bucket: String, key: String, into: StorageClass, call: Call) -> Result<Object, Failure> {
        configured(|provider: &T| provider.store_as(&bucket, &key, into, &call))
    }

    fn thaw(bucket: String, key: String, days: u32, call: Call) -> Result<Object, Failure> {
        configured(|provider: &T| provider.thaw(&bucket, &key, days, &call))
    }

    fn set_lock(
        bucket: String,
        key: String,
        until: Option<Timestamp>,
        legal_hold: bool,
        call: Call,
    ) -> Result<Object, Failure> {
        configured(|provider: &T| provider.set_lock(&bucket, &key, until, legal_hold, &call))
    }

    fn remove(bucket: String, keys: Vec<String>, call: Call) -> Vec<Result<(), Failure>> {
        configured(|provider: &T| Ok(provider.remove(&bucket, &keys, &call)))
            .unwrap_or_else(|failure| vec![Err(failure); keys.len()])
    }
}

/// An upload or a download behind the handle that the host holds.
#[doc(hidden)]
pub struct Handle<T>(T);

impl<T: Upload> exported::storage_control::GuestUpload for Handle<T> {
    fn write(&self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.0.write(bytes)
    }

    fn finish(upload: exported::storage_control::Upload) -> Result<Object, Failure> {
        upload.into_inner::<Self>().0.finish()
    }
}

impl<T: Download> exported::storage_control::GuestDownload for Handle<T> {
    fn read(&self, limit: u32) -> Result<Vec<u8>, Failure> {
        self.0.read(limit)
    }
}

impl<T: Instance + Action> exported::action::Guest for Component<T> {
    fn perform(name: String, arguments: String, call: Call) -> Result<Done, Failure> {
        configured(|provider: &T| provider.perform(&name, &arguments, &call))
    }

    fn undo(name: String, receipt: Option<String>, call: Call) -> Result<Done, Failure> {
        configured(|provider: &T| provider.undo(&name, receipt.as_deref(), &call))
    }
}

impl<T: Instance + Notify> exported::notify::Guest for Component<T> {
    fn send(channel: String, message: Message, call: Call) -> Result<(), Failure> {
        configured(|provider: &T| provider.send(&channel, message, &call))
    }
}

/// The contract has `configure` called first; a host that forgets gets a failure, not a trap.
fn configured<T: Instance, R>(use_it: impl FnOnce(&T) -> Result<R, Failure>) -> Result<R, Failure> {
    T::with(|cell| match cell.get() {
        Some(provider) => use_it(provider),
        None => Err(Failure::Invalid("this instance has not been configured".to_owned())),
    })
}

/// Each world's encoded type, for the custom section that makes a module a component of it.
#[doc(hidden)]
pub mod worlds {
    macro_rules! world {
        ($name:ident, $file:literal) => {
            pub const $name: &[u8; include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".component-type")).len()] =
                include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".component-type"));
        };
    }

    world!(FAILOVER, "failover");
    world!(RETENTION, "retention");
    world!(TIERING, "tiering");
    world!(COST, "cost");
    world!(PROBE_PROVIDER, "probe-provider");
    world!(SIGNAL_PROVIDER, "signal-provider");
    world!(REPLICATION_PROVIDER, "replication-provider");
    world!(DNS_PROVIDER, "dns-provider");
    world!(STORAGE_PROVIDER, "storage-provider");
    world!(ACTION_PROVIDER, "action-provider");
    world!(NOTIFY_PROVIDER, "notify-provider");
}

/// Exports a [`FailoverPolicy`] as a component of the world `failover`.
#[macro_export]
macro_rules! failover_policy {
    ($policy:ty) => {
        $crate::__package!($policy, $policy, <$policy as $crate::FailoverPolicy>::MEMO_FORMAT, ::std::vec::Vec::new);
        $crate::__component!($policy, FailoverPolicy, FAILOVER, {
            failover_policy: __export_tidegate_dr_failover_policy_0_1_0_cabi
        });
    };
}

/// Exports a [`RetentionPolicy`] as a component of the world `retention`.
#[macro_export]
macro_rules! retention_policy {
    ($policy:ty) => {
        $crate::__package!($policy, $policy, "", ::std::vec::Vec::new);
        $crate::__component!($policy, RetentionPolicy, RETENTION, {
            retention_policy: __export_tidegate_dr_retention_policy_0_1_0_cabi
        });
    };
}

/// Exports a [`TieringPolicy`] as a component of the world `tiering`.
#[macro_export]
macro_rules! tiering_policy {
    ($policy:ty) => {
        $crate::__package!($policy, $policy, "", ::std::vec::Vec::new);
        $crate::__component!($policy, TieringPolicy, TIERING, {
            tiering_policy: __export_tidegate_dr_tiering_policy_0_1_0_cabi
        });
    };
}

/// Exports a [`CostPolicy`] as a component of the world `cost`.
#[macro_export]
macro_rules! cost_policy {
    ($policy:ty) => {
        $crate::__package!($policy, $policy, "", ::std::vec::Vec::new);
        $crate::__component!($policy, CostPolicy, COST, {
            cost_policy: __export_tidegate_dr_cost_policy_0_1_0_cabi
        });
    };
}

/// Exports a [`Probe`] as a component of the world `probe-provider`.
#[macro_export]
macro_rules! probe_provider {
    ($provider:ty) => {
        $crate::__provider!($provider, Probe, PROBE_PROVIDER, {
            probe: __export_tidegate_dr_probe_0_1_0_cabi
        });
    };
}

/// Exports a [`Signal`] as a component of the world `signal-provider`.
#[macro_export]
macro_rules! signal_provider {
    ($provider:ty) => {
        $crate::__provider!($provider, Signal, SIGNAL_PROVIDER, {
            signal: __export_tidegate_dr_signal_0_1_0_cabi
        });
    };
}

/// Exports a [`Replication`] as a component of the world `replication-provider`.
#[macro_export]
macro_rules! replication_provider {
    ($provider:ty) => {
        $crate::__provider!($provider, Replication, REPLICATION_PROVIDER, {
            replication: __export_tidegate_dr_replication_0_1_0_cabi,
            replication_control: __export_tidegate_dr_replication_control_0_1_0_cabi
        });
    };
}

/// Exports a [`Dns`] as a component of the world `dns-provider`.
#[macro_export]
macro_rules! dns_provider {
    ($provider:ty) => {
        $crate::__provider!($provider, Dns, DNS_PROVIDER, {
            dns: __export_tidegate_dr_dns_0_1_0_cabi,
            dns_control: __export_tidegate_dr_dns_control_0_1_0_cabi
        });
    };
}

/// Exports a [`Storage`] as a component of the world `storage-provider`.
#[macro_export]
macro_rules! storage_provider {
    ($provider:ty) => {
        $crate::__provider!($provider, Storage, STORAGE_PROVIDER, {
            storage: __export_tidegate_dr_storage_0_1_0_cabi,
            storage_control: __export_tidegate_dr_storage_control_0_1_0_cabi
        });
    };
}

/// Exports an [`Action`] as a component of the world `action-provider`.
#[macro_export]
macro_rules! action_provider {
    ($provider:ty) => {
        $crate::__provider!($provider, Action, ACTION_PROVIDER, {
            action: __export_tidegate_dr_action_0_1_0_cabi
        });
    };
}

/// Exports a [`Notify`] as a component of the world `notify-provider`.
#[macro_export]
macro_rules! notify_provider {
    ($provider:ty) => {
        $crate::__provider!($provider, Notify, NOTIFY_PROVIDER, {
            notify: __export_tidegate_dr_notify_0_1_0_cabi
        });
    };
}

/// What every provider's macro does: its package, the cell of its one instance, its component.
#[doc(hidden)]
#[macro_export]
macro_rules! __provider {
    ($provider:ty, $trait:ident, $world:ident, { $($module:ident: $export:ident),* }) => {
        $crate::__package!(
            $provider,
            <$provider as $crate::Provider>::Settings,
            "",
            <$provider as $crate::Provider>::wants
        );

        impl $crate::__macro::Instance for $provider {
            fn with<R>(use_it: impl FnOnce(&::std::cell::OnceCell<Self>) -> R) -> R {
                ::std::thread_local! {
                    static INSTANCE: ::std::cell::OnceCell<$provider> = const { ::std::cell::OnceCell::new() };
                }
                INSTANCE.with(use_it)
            }
        }

        $crate::__component!($provider, $trait, $world, {
            provider: __export_tidegate_dr_provider_0_1_0_cabi,
            $($module: $export),*
        });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __package {
    ($plugin:ty, $settings:ty, $memo_format:expr, $wants:expr) => {
        impl $crate::__macro::Packaged for $plugin {
            const PACKAGE: $crate::__macro::Package = $crate::__macro::Package {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                summary: env!("CARGO_PKG_DESCRIPTION"),
                memo_format: $memo_format,
                wants: $wants,
                schema: $crate::__macro::schema::<$settings>,
                check: $crate::__macro::check::<$settings>,
            };
        }
    };
}

/// The exports exist only in WebAssembly: natively, several plugins can be linked into one test.
#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    ($plugin:ty, $trait:ident, $world:ident, { $($module:ident: $export:ident),* }) => {
        const _: fn() = || {
            fn implements<T: $crate::$trait>() {}
            implements::<$plugin>();
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "a component's exports are called by their names")]
        const _: () = {
            type TidegateComponent = $crate::__macro::Component<$plugin>;

            $crate::__macro::plugin::__export_tidegate_dr_plugin_0_1_0_cabi!(
                TidegateComponent with_types_in $crate::__macro::plugin
            );
            $($crate::__macro::$module::$export!(TidegateComponent with_types_in $crate::__macro::$module);)*

            #[used]
            #[unsafe(link_section = concat!("component-type:tidegate:", stringify!($world)))]
            static WORLD: [u8; $crate::__macro::worlds::$world.len()] = *$crate::__macro::worlds::$world;
        };
    };
}
