//! The contract as wasmtime's generated types, which never leave this crate.
//!
//! Two unions cover the eleven worlds: a world's component exports some of a union's interfaces and imports at most
//! what the union imports, and each interface is bound by itself. Which world a component belongs to is `inspect`'s
//! business; `tests/contract.rs` holds the unions against the WIT files.

/// What the four policy worlds import and export. Everything is synchronous: a policy never waits.
pub(crate) mod policies {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1.0",
        inline: "
            package tidegate:host;
            world policies {
                import tidegate:dr/log@0.1.0;
                import tidegate:dr/health@0.1.0;
                import tidegate:dr/replication@0.1.0;
                import tidegate:dr/dns@0.1.0;
                import tidegate:dr/storage@0.1.0;
                export tidegate:dr/plugin@0.1.0;
                export tidegate:dr/failover-policy@0.1.0;
                export tidegate:dr/retention-policy@0.1.0;
                export tidegate:dr/tiering-policy@0.1.0;
                export tidegate:dr/cost-policy@0.1.0;
            }
        ",
        world: "tidegate:host/policies",
        imports: { default: trappable },
    });
}

/// What the seven provider worlds import and export. Exports are asynchronous: a provider waits for the world.
pub(crate) mod providers {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1.0",
        inline: "
            package tidegate:host;
            world providers {
                import tidegate:dr/log@0.1.0;
                import tidegate:dr/secrets@0.1.0;
                import tidegate:dr/command@0.1.0;
                export tidegate:dr/plugin@0.1.0;
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
        world: "tidegate:host/providers",
        imports: {
            "tidegate:dr/secrets@0.1.0.get": async | trappable,
            "tidegate:dr/command@0.1.0.run": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}
