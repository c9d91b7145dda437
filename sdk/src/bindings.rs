//! The contract's words and functions in Rust, generated from `wit/v0.1.0`: quarantine for code that nobody wrote.
//!
//! All worlds share one set of bindings, so that a `Route` is one type wherever it appears. Nothing here decides which world a
//! component is of: `export.rs` does, by exporting only that world's functions and its encoded type.

#![expect(missing_docs, reason = "the WIT files are the manual of each word")]

wit_bindgen::generate!({
    path: "../wit/v0.1.0",
    inline: "
        package tidegate:sdk;

        world everything {
            import tidegate:dr/log@0.1.0;
            import tidegate:dr/secrets@0.1.0;
            import tidegate:dr/command@0.1.0;
            import tidegate:dr/health@0.1.0;
            import tidegate:dr/replication@0.1.0;
            import tidegate:dr/dns@0.1.0;
            import tidegate:dr/storage@0.1.0;

            export tidegate:dr/plugin@0.1.0;
            export tidegate:dr/failover-policy@0.1.0;
            export tidegate:dr/retention-policy@0.1.0;
            export tidegate:dr/tiering-policy@0.1.0;
            export tidegate:dr/cost-policy@0.1.0;

            export tidegate:dr/provider@0.1.0;
            export tidegate:dr/probe@0.1.0;
            export tidegate:dr/signal@0.1.0;
            export tidegate:dr/replication@0.1.0;
            export tidegate:dr/replication-control@0.1.0;
            export tidegate:dr/dns@0.1.0;
            export tidegate:dr/dns-control@0.1.0;
            export tidegate:dr/storage@0.1.0;
            export tidegate:dr/storage-control@0.1.0;
            export tidegate:dr/action@0.1.0;
            export tidegate:dr/notify@0.1.0;
        }
    ",
    world: "everything",
    generate_all,
    pub_export_macro: true,
    merge_structurally_equal_types: true,
    additional_derives: [PartialEq],
});
