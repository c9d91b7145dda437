//! Messages to people by webhook: one JSON document to a channel's address.
//!
//! Sends, and fetches the signing secret; what is sent, `decide.rs` knows.

pub mod decide;

use std::collections::BTreeMap;
use std::time::Duration;

use decide::Channel;
use tidegate_sdk::{Call, Declared, Fact, Failure, Message, NoSettings, Notify, Problem, Provider, Want, http, secret};

/// The provider: every channel that the fleet file declares for it.
pub struct NotifyWebhook {
    channels: BTreeMap<String, Channel>,
}

impl Provider for NotifyWebhook {
    type Settings = NoSettings;

    fn wants() -> Vec<Want> {
        let connect = ["http://*:*", "https://*:*"].map(|pattern| Want::Connect(pattern.to_owned()));
        connect.into_iter().chain([Want::Secret("*".to_owned())]).collect()
    }

    fn configure(_: NoSettings, declared: Declared) -> Result<Self, Vec<Problem>> {
        Ok(NotifyWebhook { channels: declared.parse()? })
    }

    /// Sends nothing: a message is the only way to try a channel, and people would get it.
    fn ready(&self, name: &str) -> Result<Vec<Fact>, Failure> {
        let channel = self.channel(name)?;
        let signed = signing_secret(channel)?.is_some();
        Ok(vec![Fact::new("signed", signed.to_string()), Fact::new("checked", "declaration and secret only")])
    }
}

impl Notify for NotifyWebhook {
    fn send(&self, name: &str, message: Message, call: &Call) -> Result<(), Failure> {
        let channel = self.channel(name)?;
        let secret = signing_secret(channel)?;
        let request = decide::request(name, channel, &message, call, secret.as_deref());
        let request = request.timeout(Duration::from_millis(call.timeout));
        decide::delivered(http::send(&request).map_err(http::Error::into_failure)?)
    }
}

tidegate_sdk::notify_provider!(NotifyWebhook);

impl NotifyWebhook {
    fn channel(&self, name: &str) -> Result<&Channel, Failure> {
        self.channels.get(name).ok_or_else(|| Failure::NotFound(format!("no channel {name} is declared")))
    }
}

/// Read each time: the operator may have changed it.
fn signing_secret(channel: &Channel) -> Result<Option<Vec<u8>>, Failure> {
    channel.signing_secret.as_deref().map(secret).transpose()
}
