//! What a provider can ask of its host besides WASI: granted secrets, declared commands.
//!
//! Policies have neither: their worlds do not import them.

use std::time::Duration;

use crate::bindings::tidegate::dr::{command, secrets};
use crate::contract::{Failure, Output};

/// A granted secret's bytes. Ask each time it is needed: the operator may have changed it.
pub fn secret(name: &str) -> Result<Vec<u8>, Failure> {
    secrets::get(name)
}

/// A granted secret that is text, without the line end that an editor left behind it.
pub fn secret_text(name: &str) -> Result<String, Failure> {
    let text = String::from_utf8(secret(name)?)
        .map_err(|_| Failure::Invalid(format!("the secret {name} is not UTF-8 text")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Have the agent of a site run a declared command; each argument must match the pattern declared for it. With a key it is
/// run once, however often it is asked for; without one it is a look that changes nothing.
pub fn run_command(
    site: &str,
    name: &str,
    arguments: &[(String, String)],
    key: Option<&str>,
    timeout: Duration,
) -> Result<Output, Failure> {
    command::run(site, name, arguments, key, crate::provider::milliseconds(timeout))
}
