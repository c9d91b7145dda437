//! failover-quorum
