//! The hostile guests as bytes, for tests, and a well-behaved one for benches.
//!
//! Knows nothing of what they do.

macro_rules! guest {
    ($($(#[$doc:meta])* $name:ident = $variable:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name() -> &'static [u8] {
            include_bytes!(env!($variable))
        }
    )*};
}

guest! {
    /// A failover policy that breaks the rule that its settings name.
    hostile_policy = "HOSTILE_POLICY";
    /// The same, computing for ever when it is asked what it is.
    loops_in_describe = "LOOPS_IN_DESCRIBE";
    /// The same, computing for ever before it can be asked anything.
    loops_in_start = "LOOPS_IN_START";
    /// A probe that reaches for what its target names.
    hostile_provider = "HOSTILE_PROVIDER";
    /// A signal whose numbers are none.
    hostile_signal = "HOSTILE_SIGNAL";
    /// A retention policy that breaks the rule that its settings name.
    hostile_retention = "HOSTILE_RETENTION";
    /// The same for tiering.
    hostile_tiering = "HOSTILE_TIERING";
    /// The same for cost.
    hostile_cost = "HOSTILE_COST";
    /// A database's provider that answers with what it was asked.
    echo_replication = "ECHO_REPLICATION";
    /// A probe that begins in the clear and goes on in TLS.
    starttls_probe = "STARTTLS_PROBE";
    /// The failover policy that comes with the host.
    failover_quorum = "FAILOVER_QUORUM";
}
