//! The one thing that the policy has itself told again: how often it has looked again at a site in doubt.
//!
//! Anything that is not of this form counts as nothing remembered.

/// In the manifest; a revision with another one starts afresh.
pub const FORMAT: &str = "failover-quorum/1";

/// How often the site was looked at again, as of the last decision.
pub fn looks(memo: &str, site: &str) -> u32 {
    let words = memo.split_once(' ').filter(|(_, about)| *about == site);
    words.and_then(|(count, _)| count.parse().ok()).unwrap_or(0)
}

/// Remembers it.
pub fn remember(looks: u32, site: &str) -> String {
    format!("{looks} {site}")
}

#[cfg(test)]
mod tests {
    use super::{looks, remember};

    #[test]
    fn counts_for_one_site_only() {
        let memo = remember(2, "west");
        assert_eq!((looks(&memo, "west"), looks(&memo, "east")), (2, 0));
    }

    #[test]
    fn forgets_what_it_cannot_read() {
        for memo in ["", "west", "x west", "-1 west", "{\"looks\":1}"] {
            assert_eq!(looks(memo, "west"), 0, "{memo}");
        }
    }
}
