//! agent
pub mod ledger;
