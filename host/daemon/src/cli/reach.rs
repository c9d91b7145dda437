//! Finds the fleet file that a command needs.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_kernel::fleet::{self, Fleet, Problem};

use crate::cli::Common;
use crate::cli::failed::Failed;

/// Where a fleet file is looked for, in this order.
const FLEET_FILES: [&str; 2] = ["fleet.toml", "/etc/tidegate/fleet.toml"];

/// The fleet file that was named, or that lies where it is looked for.
pub fn fleet_file(common: &Common) -> Result<PathBuf, Failed> {
    let found = common.fleet.clone().or_else(|| FLEET_FILES.iter().map(PathBuf::from).find(|path| path.exists()));
    found.ok_or_else(|| {
        Failed::usage("there is no fleet file: neither fleet.toml here nor /etc/tidegate/fleet.toml")
            .next("name one with --fleet FILE, or write one with `tidegate init`")
    })
}

/// The fleet in a file, or every problem with it.
pub fn fleet_at(path: &Path) -> Result<Fleet, Failed> {
    parse(path).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Failed::usage(format!("the fleet file cannot be used:\n{}", told.join("\n"))).unchanged("nothing was changed")
    })
}

/// The fleet in a file, or every problem with it as it was found.
pub fn parse(path: &Path) -> Result<Fleet, Vec<Problem>> {
    fleet::parse(path, &|path| fs::read_to_string(path))
}
