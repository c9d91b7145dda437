//! Finds what a command needs: the fleet file, and a way to the running host.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_kernel::fleet::{self, Fleet, Problem};

use crate::cli::Common;
use crate::cli::failed::Failed;
use crate::client::{Address, Client};
use crate::tls;

/// Where a fleet file is looked for, in this order.
const FLEET_FILES: [&str; 2] = ["fleet.toml", "/etc/tidegate/fleet.toml"];

/// Where a host listens that was told nothing else.
const DEFAULT_HOST: &str = "unix:/var/lib/tidegate/tidegate.sock";

/// A way to the host that was named, or that the fleet file names.
pub fn host(common: &Common) -> Result<Client, Failed> {
    let address: Address = match &common.host {
        Some(address) => address.parse()?,
        None => listening(common)?.parse()?,
    };
    let token = common.token_file.as_deref().map(token).transpose()?;
    let tls = match &address {
        Address::Tls(..) => Some(tls::client(common.ca.as_deref())?),
        Address::Unix(_) | Address::Plain(..) => None,
    };
    Ok(Client::new(address, token, tls))
}

/// The token in a file, without the line's end.
pub fn token(path: &Path) -> Result<String, Failed> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failed::usage(format!("cannot read the token: {error}")).at(path.display()))?;
    match text.trim() {
        "" => Err(Failed::usage("the token file is empty").at(path.display())),
        token => Ok(token.to_owned()),
    }
}

/// The fleet file that was named, or that lies where it is looked for.
pub fn fleet_file(common: &Common) -> Result<PathBuf, Failed> {
    let found = common.fleet.clone().or_else(|| FLEET_FILES.iter().map(PathBuf::from).find(|path| path.exists()));
    found.ok_or_else(|| {
        Failed::usage("there is no fleet file: neither fleet.toml here nor /etc/tidegate/fleet.toml")
            .next("name one with --fleet FILE, or write one with `tidegate init`")
    })
}

/// The fleet in the file that was named, or that lies where it is looked for; none = there is none.
pub fn fleet_at_hand(common: &Common) -> Result<Option<Fleet>, Failed> {
    fleet_file(common).ok().map(|path| fleet_at(&path)).transpose()
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

/// Where the fleet's host takes orders: on its Unix socket, else on its first address.
fn listening(common: &Common) -> Result<String, Failed> {
    let Ok(path) = fleet_file(common) else { return Ok(DEFAULT_HOST.to_owned()) };
    let listen = fleet_at(&path)?.host.listen;
    let socket = listen.iter().find(|address| address.starts_with("unix:"));
    Ok(socket.or(listen.first()).cloned().unwrap_or_else(|| DEFAULT_HOST.to_owned()))
}
