//! `tidegate policy`: write, check, test and try a policy before it decides for real. Needs no running host.

mod workbench;

pub use workbench::{Wanted, Workbench};
