//! Fleets that come with the simulator.

use std::path::Path;

use tidegate_kernel::fleet::{Fleet, parse};

const THREE_SITES: &str = include_str!("../fleets/three-sites.toml");

/// The fleet of that name, as scenarios name it behind `builtin:`; or which there are.
pub fn builtin(name: &str) -> Result<Fleet, String> {
    if name != "three-sites" {
        return Err(format!("no fleet of that name comes with the simulator: {name}; there is three-sites"));
    }
    three_sites()
}

/// Three sites, ten services of every kind, three databases.
pub fn three_sites() -> Result<Fleet, String> {
    parse(Path::new("three-sites.toml"), &|_| Ok(THREE_SITES.to_owned()))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
