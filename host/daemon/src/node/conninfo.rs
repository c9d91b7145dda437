//! How a node reaches its primary: for PostgreSQL's programs now, and for its own server from then on.
//!
//! A password is never on a command line: programs find it in a file that only the data directory's owner can read.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use super::{Node, settings};

/// The primary, and as whom to speak to it.
#[derive(Clone, Debug)]
pub struct Primary {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role for replication; for a rewind it may read files as well.
    pub user: String,
    /// The database that a rewind connects to.
    pub database: String,
    /// The role's password.
    pub password: Option<String>,
    /// What this node calls itself: the synchronous set goes by it.
    pub name: String,
    /// `sslmode`.
    pub tls: String,
}

/// A program's way to the primary: its connection string, and the file with its password while this lives.
pub(super) struct Way {
    text: String,
    passwords: Option<NamedTempFile>,
}

impl Primary {
    /// `HOST:PORT`; a host with colons in brackets.
    pub fn address(text: &str) -> Result<(String, u16)> {
        let (host, port) = text.rsplit_once(':').with_context(|| format!("{text:?} is no HOST:PORT"))?;
        let host = host.trim_matches(['[', ']']);
        ensure!(!host.is_empty(), "{text:?} names no host");
        Ok((host.to_owned(), port.parse().with_context(|| format!("{port:?} is no port"))?))
    }

    /// For a program that is run now.
    pub(super) fn way(&self, more: &str) -> Result<Way> {
        let passwords = self.password.as_deref().map(pass_file).transpose()?;
        Ok(Way { text: format!("{} {more}", self.text("tidegate")), passwords })
    }

    /// For this node's own server, its settings made durable.
    pub(super) fn follow(&self, node: &Node) -> Result<()> {
        let password = self.password.as_deref().map(|password| format!(" password={}", quoted(password)));
        let value = self.text(&self.name) + &password.unwrap_or_default();
        settings::set(&node.data, "primary_conninfo", &value)
    }

    fn text(&self, application: &str) -> String {
        let Primary { host, port, user, tls, .. } = self;
        let (host, user, tls, application) = (quoted(host), quoted(user), quoted(tls), quoted(application));
        format!("host={host} port={port} user={user} sslmode={tls} application_name={application} connect_timeout=5")
    }
}

fn pass_file(password: &str) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new().context("make a file for the password")?;
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    writeln!(file, "*:*:*:*:{escaped}").context("write the password down")?;
    Ok(file)
}

impl Way {
    /// The connection string, without the password.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Lets a program find the password.
    pub(super) fn show(&self, command: &mut Command) {
        if let Some(passwords) = &self.passwords {
            command.env("PGPASSFILE", passwords.path());
        }
    }
}

/// As a value of a connection string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Writes a file of the data directory whole or not at all, durable.
pub(super) fn replace(data: &Path, name: &str, text: &[u8]) -> std::io::Result<()> {
    let draft = data.join(format!("{name}.draft"));
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&draft, data.join(name))?;
    super::bar::sync(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_of_every_kind() {
        for (text, host, port) in [("db:5432", "db", 5432), ("10.0.0.1:1", "10.0.0.1", 1), ("[::1]:5432", "::1", 5432)]
        {
            assert_eq!(Primary::address(text).unwrap(), (host.to_owned(), port));
        }
        for text in ["", "db", ":5432", "db:", "db:x", "db:70000"] {
            assert!(Primary::address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn keeps_what_is_in_a_value_in_it() {
        assert_eq!(quoted(r"a' host='evil\"), r"'a\' host=\'evil\\'");
    }
}
