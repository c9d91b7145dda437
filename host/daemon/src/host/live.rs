//! What the operator says now: the fleet file, the secrets and the people of the newest sound reading.
//!
//! Replaced as a whole by a reload, and never changed in place. Does not know what runs on it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use tidegate_kernel::fleet::{Fleet, Service, ServiceId, Vantage, VantageId, parse};

use crate::agents::Names;
use crate::api::People;
use crate::secrets::{self, Missing, Secrets};

/// A fleet file is text that people write; this is a mistake or an attack.
const FLEET_BYTES_MAX: u64 = 64 << 20;

/// One sound reading.
pub struct Live {
    /// What was declared.
    pub fleet: Arc<Fleet>,
    /// As they were at that time.
    pub secrets: Secrets,
    /// Who may ask for what.
    pub people: People,
    /// From names to the kernel's numbers.
    pub names: Names,
    /// Secrets that could not be read.
    pub missing: Vec<Missing>,
    directory: PathBuf,
    services: HashMap<String, ServiceId>,
    seen: Vec<(PathBuf, Stamp)>,
}

/// Changes when a file does.
pub(super) type Stamp = Option<(SystemTime, u64)>;

impl Live {
    /// Reads the fleet file, what it includes, and the secrets. The error has every problem with its file and line.
    pub fn read(fleet_file: &Path) -> anyhow::Result<Self> {
        let seen = RefCell::new(Vec::new());
        let read = |path: &Path| {
            seen.borrow_mut().push((path.to_owned(), stamp(path)));
            read_text(path)
        };
        let fleet = match parse(fleet_file, &read) {
            Ok(fleet) => fleet,
            Err(problems) => bail!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        };
        let mut seen = seen.into_inner();
        seen.extend(secrets::files(&fleet.secrets).into_iter().map(|path| (path.clone(), stamp(&path))));
        let (secrets, missing) = Secrets::read(&fleet.secrets);
        let services =
            fleet.services.iter().enumerate().map(|(at, service)| (service.name.clone(), ServiceId(at as u32)));
        Ok(Live {
            people: People::new(&fleet.people, &secrets),
            names: Names::of(&fleet),
            services: services.collect(),
            fleet: Arc::new(fleet),
            secrets,
            missing,
            directory: fleet_file.parent().unwrap_or(Path::new("")).to_owned(),
            seen,
        })
    }

    /// What the files looked like when they were read.
    pub(super) fn stamps_when_read(&self) -> Vec<Stamp> {
        self.seen.iter().map(|(_, then)| *then).collect()
    }

    /// What the same files look like now.
    pub(super) fn stamps_now(&self) -> Vec<Stamp> {
        self.seen.iter().map(|(path, _)| stamp(path)).collect()
    }

    /// A service by its name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name).and_then(|id| self.fleet.services.get(id.at()))
    }

    /// Where `file:` in a slot begins: the declared directory, or the fleet file's own.
    pub fn plugin_directory(&self) -> &Path {
        self.fleet.host.plugins.as_deref().unwrap_or(&self.directory)
    }

    /// Agent → token. An agent whose token could not be read cannot speak.
    pub fn agent_tokens(&self) -> BTreeMap<String, String> {
        let token = |vantage: &Vantage| {
            let token = self.secrets.get(vantage.token.as_deref()?)?.text()?;
            Some((vantage.name.clone(), token.to_owned()))
        };
        self.fleet.vantages.iter().filter_map(token).collect()
    }

    /// The host's own vantage point; none where an agent stands at its site.
    pub fn own_vantage(&self) -> Option<(VantageId, &Vantage)> {
        let own = |vantage: &Vantage| vantage.token.is_none() && vantage.site == self.fleet.host.site;
        let at = self.fleet.vantages.iter().position(own)?;
        Some((VantageId(at as u16), &self.fleet.vantages[at]))
    }

    /// The site where this host stands.
    pub fn own_site(&self) -> &str {
        self.fleet.sites.get(self.fleet.host.site.at()).map_or("", |site| site.name.as_str())
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FLEET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FLEET_BYTES_MAX {
        return Err(std::io::Error::other(format!("is longer than {FLEET_BYTES_MAX} bytes")));
    }
    Ok(text)
}
