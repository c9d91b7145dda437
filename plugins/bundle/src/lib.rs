//! The plugins that come with Tidegate: the bytes of their components, by name.
//!
//! Knows nothing of what they do; `build.rs` has built them from the crates beside this one.

/// A plugin that comes with the host.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// As in the fleet file: `plugin = "failover-quorum"`.
    pub name: &'static str,
    /// Its component.
    pub bytes: &'static [u8],
}

/// Every plugin that comes with the host, by name in alphabetical order.
pub fn all() -> &'static [Builtin] {
    include!(concat!(env!("OUT_DIR"), "/builtins.rs"))
}

/// The plugin of that name.
pub fn find(name: &str) -> Option<&'static Builtin> {
    all().iter().find(|builtin| builtin.name == name)
}

/// Components of `examples/`: not among [`all`], so no fleet file can name them.
pub mod examples {
    /// A policy that moves a service with the working day.
    pub fn policy_follow_the_sun() -> &'static [u8] {
        include_bytes!(concat!(env!("OUT_DIR"), "/policy-follow-the-sun.wasm"))
    }

    /// Does everything that a policy must not do.
    pub fn policy_hostile() -> &'static [u8] {
        include_bytes!(concat!(env!("OUT_DIR"), "/policy-hostile.wasm"))
    }

    /// A probe that looks at a file's age.
    pub fn provider_fresh_file() -> &'static [u8] {
        include_bytes!(concat!(env!("OUT_DIR"), "/provider-fresh-file.wasm"))
    }
}

#[cfg(test)]
mod tests {
    use super::{all, find};

    /// A component, not a core module: "\0asm", version 13, layer 1.
    const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 13, 0, 1, 0];

    #[test]
    fn every_plugin_is_a_component() {
        assert!(!all().is_empty());
        for builtin in all() {
            assert_eq!(builtin.bytes.first_chunk(), Some(&COMPONENT), "{}", builtin.name);
        }
    }

    #[test]
    fn finds_by_name_and_nothing_else() {
        assert_eq!(find("failover-quorum").map(|builtin| builtin.name), Some("failover-quorum"));
        assert!(find("failover").is_none());
    }
}
