//! `tidegate policy new`: a project that builds, passes its own tests and decides something sensible.
//!
//! Writes files and runs nothing. What they say is in `sdk/templates`, and what they need besides is a copy of this
//! repository's own SDK and contract: a project depends on no path of the machine that it was written on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_engine::World;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Tone, paint};

/// `policy new KIND NAME`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy new failover night-watch --lang rust
  tidegate policy new failover night-watch --lang python --dir ~/policies/night-watch
  tidegate policy new failover night-watch --lang javascript")]
pub struct New {
    /// What it decides: failover.
    pub kind: String,
    /// Its name, in lower-case words with hyphens.
    pub name: String,
    /// What it is written in.
    #[arg(long = "lang", value_enum)]
    pub language: Language,
    /// Where to put it [default: a directory of its name, here].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// What a policy can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// The smallest and quickest component.
    Rust,
    /// CPython, as a component of about 20 MB.
    #[value(alias = "py")]
    Python,
    /// QuickJS, as a component of about 2 MB.
    #[value(name = "javascript", alias = "js")]
    #[serde(rename = "javascript")]
    JavaScript,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Written {
    /// The project.
    pub dir: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// Its files, seen from there.
    pub files: Vec<&'static str>,
}

/// A file of a project: its place in it, and what is in it.
struct File {
    place: &'static str,
    text: &'static str,
}

/// A template's name, in the three forms in which files name it.
const TEMPLATE: &str = "new-policy";

/// `place: "path in this repository"`, embedded.
macro_rules! files {
    ($($place:literal: $path:literal),* $(,)?) => {
        &[$(File { place: $place, text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path)) }),*]
    };
}

const RUST: &[File] = files! {
    "Cargo.toml": "sdk/templates/rust/Cargo.toml",
    "README.md": "sdk/templates/rust/README.md",
    "rust-toolchain.toml": "rust-toolchain.toml",
    "rustfmt.toml": "rustfmt.toml",
    "settings.json": "sdk/templates/rust/settings.json",
    "src/lib.rs": "sdk/templates/rust/src/lib.rs",
    "tests/claims.rs": "sdk/templates/rust/tests/claims.rs",
    ".cargo/config.toml": "sdk/templates/rust/.cargo/config.toml",
    ".gitignore": "sdk/templates/rust/.gitignore",
};

const PYTHON: &[File] = files! {
    "README.md": "sdk/templates/python/README.md",
    "policy.py": "sdk/templates/python/policy.py",
    "test_policy.py": "sdk/templates/python/test_policy.py",
    "settings.json": "sdk/templates/python/settings.json",
    "requirements.txt": "sdk/templates/python/requirements.txt",
    ".gitignore": "sdk/templates/python/.gitignore",
};

const JAVASCRIPT: &[File] = files! {
    "README.md": "sdk/templates/javascript/README.md",
    "policy.js": "sdk/templates/javascript/policy.js",
    "policy.test.js": "sdk/templates/javascript/policy.test.js",
    "settings.json": "sdk/templates/javascript/settings.json",
    "package.json": "sdk/templates/javascript/package.json",
    ".gitignore": "sdk/templates/javascript/.gitignore",
};

/// As they are, whatever the policy's name.
const RUST_SDK: &[File] = files! {
    "vendor/tidegate/Cargo.toml": "sdk/templates/rust/vendor/tidegate/Cargo.toml",
    "vendor/tidegate/sdk/Cargo.toml": "sdk/Cargo.toml",
    "vendor/tidegate/sdk/README.md": "sdk/README.md",
    "vendor/tidegate/sdk/build.rs": "sdk/build.rs",
    "vendor/tidegate/sdk/src/bindings.rs": "sdk/src/bindings.rs",
    "vendor/tidegate/sdk/src/cluster.rs": "sdk/src/cluster.rs",
    "vendor/tidegate/sdk/src/contract.rs": "sdk/src/contract.rs",
    "vendor/tidegate/sdk/src/decision.rs": "sdk/src/decision.rs",
    "vendor/tidegate/sdk/src/export.rs": "sdk/src/export.rs",
    "vendor/tidegate/sdk/src/http.rs": "sdk/src/http.rs",
    "vendor/tidegate/sdk/src/lib.rs": "sdk/src/lib.rs",
    "vendor/tidegate/sdk/src/log.rs": "sdk/src/log.rs",
    "vendor/tidegate/sdk/src/net.rs": "sdk/src/net.rs",
    "vendor/tidegate/sdk/src/period.rs": "sdk/src/period.rs",
    "vendor/tidegate/sdk/src/policy.rs": "sdk/src/policy.rs",
    "vendor/tidegate/sdk/src/provider.rs": "sdk/src/provider.rs",
    "vendor/tidegate/sdk/src/reach.rs": "sdk/src/reach.rs",
    "vendor/tidegate/sdk/src/settings.rs": "sdk/src/settings.rs",
    "vendor/tidegate/sdk/src/situation.rs": "sdk/src/situation.rs",
    "vendor/tidegate/sdk/src/template.rs": "sdk/src/template.rs",
    "vendor/tidegate/sdk/wit/tls.wit": "sdk/wit/tls.wit",
    "vendor/tidegate/sdk/wit/deps/io.wit": "sdk/wit/deps/io.wit",
    "vendor/tidegate/wit/v0.1.0/control.wit": "wit/v0.1.0/control.wit",
    "vendor/tidegate/wit/v0.1.0/observe.wit": "wit/v0.1.0/observe.wit",
    "vendor/tidegate/wit/v0.1.0/policies.wit": "wit/v0.1.0/policies.wit",
    "vendor/tidegate/wit/v0.1.0/types.wit": "wit/v0.1.0/types.wit",
    "vendor/tidegate/wit/v0.1.0/worlds.wit": "wit/v0.1.0/worlds.wit",
};

const PYTHON_SDK: &[File] = files! {
    "tidegate.py": "sdk/python/tidegate.py",
    "component.py": "sdk/python/component.py",
};

const JAVASCRIPT_SDK: &[File] = files! {
    "tidegate.js": "sdk/javascript/tidegate.js",
};

/// For tools that read the contract themselves.
const CONTRACT: &[File] = files! {
    "wit/control.wit": "wit/v0.1.0/control.wit",
    "wit/observe.wit": "wit/v0.1.0/observe.wit",
    "wit/policies.wit": "wit/v0.1.0/policies.wit",
    "wit/types.wit": "wit/v0.1.0/types.wit",
    "wit/worlds.wit": "wit/v0.1.0/worlds.wit",
};

impl Language {
    /// What bears the policy's name, and what is the same for all.
    fn files(self) -> (&'static [File], Vec<&'static [File]>) {
        match self {
            Language::Rust => (RUST, vec![RUST_SDK]),
            Language::Python => (PYTHON, vec![PYTHON_SDK, CONTRACT]),
            Language::JavaScript => (JAVASCRIPT, vec![JAVASCRIPT_SDK, CONTRACT]),
        }
    }
}

/// Writes the project, unless something is there already.
pub fn run(console: &Console, asked: &New) -> Result<Exit, Failed> {
    known_kind(&asked.kind)?;
    good_name(&asked.name)?;
    let dir = asked.dir.clone().unwrap_or_else(|| PathBuf::from(&asked.name));
    make(&dir)?;
    let (own, shared) = asked.language.files();
    let mut files = Vec::new();
    for file in own {
        write(&dir, file.place, &named(file.text, &asked.name))?;
        files.push(file.place);
    }
    for file in shared.into_iter().flatten() {
        write(&dir, file.place, file.text)?;
        files.push(file.place);
    }
    let written = Written { dir, language: asked.language, files };
    console.show(&written, |written, _| told(written))?;
    Ok(Exit::Done)
}

/// The contract has four kinds of policies, and a host asks one of them.
fn known_kind(kind: &str) -> Result<(), Failed> {
    let world = World::ALL.iter().find(|world| [world.as_str(), world.slot_prefix()].contains(&kind));
    let why = match world {
        Some(World::Failover) => return Ok(()),
        Some(world) if world.is_policy() => {
            format!("no host asks a {world} policy yet: the contract has its world, and nothing decides by it")
        }
        Some(world) => format!("{kind} is no policy: a {world} touches the world, and decides nothing"),
        None => format!("there is no kind of policy named {kind}"),
    };
    Err(Failed::usage(why).unchanged("nothing was written").next("known here: failover"))
}

/// A name that is good for a crate, a module and a slot.
fn good_name(name: &str) -> Result<(), Failed> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('-').all(word) && name.len() <= 64 {
        return Ok(());
    }
    let why = format!("{name:?} is no name for a policy");
    Err(Failed::usage(why)
        .unchanged("nothing was written")
        .next("write it in lower-case words with hyphens: night-watch"))
}

/// Nothing is ever written over.
fn make(dir: &Path) -> Result<(), Failed> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::create_dir(dir));
    made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failed::usage("there is something at the project's place already")
            .at(dir.display())
            .unchanged("nothing was written")
            .next("name another directory with --dir, or another policy"),
        _ => Failed::new(format!("the project's directory cannot be made: {error}")).at(dir.display()),
    })
}

fn write(dir: &Path, place: &str, text: &str) -> Result<(), Failed> {
    let path = dir.join(place);
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    written.map_err(|error| {
        Failed::new(format!("the project cannot be written: {error}"))
            .at(path.display())
            .next(format!("make room, remove {}, and write it again", dir.display()))
    })
}

/// The template under its new name.
fn named(text: &str, name: &str) -> String {
    text.replace(TEMPLATE, name).replace(&TEMPLATE.replace('-', "_"), &name.replace('-', "_"))
}

fn told(written: &Written) -> String {
    let dir = written.dir.display();
    let next = paint(format!("{dir}/README.md says how to test, build and check it"), Tone::Quiet);
    format!("{} files are in {}\n{next}", written.files.len(), paint(dir.to_string(), Tone::Title))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::{CONTRACT, File, RUST_SDK, good_name, known_kind, named};

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Every file below `directory` of the repository, seen from there.
    fn below(directory: &str) -> BTreeSet<String> {
        let root = repository().join(directory);
        let (mut found, mut open) = (BTreeSet::new(), vec![root.clone()]);
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        found
    }

    fn within(files: &[File], directory: &str) -> BTreeSet<String> {
        files.iter().filter_map(|file| file.place.strip_prefix(directory)).map(str::to_owned).collect()
    }

    #[test]
    fn a_project_gets_the_whole_sdk_and_the_whole_contract() {
        for directory in ["sdk/src", "sdk/wit", "wit/v0.1.0"] {
            assert_eq!(within(RUST_SDK, &format!("vendor/tidegate/{directory}/")), below(directory), "{directory}");
        }
        assert_eq!(within(CONTRACT, "wit/"), below("wit/v0.1.0"));
    }

    #[test]
    fn the_vendored_sdk_has_the_versions_that_it_was_tested_with() {
        let read = |path: &str| {
            let text = std::fs::read_to_string(repository().join(path)).unwrap();
            text.parse::<toml::Table>().unwrap()
        };
        let (ours, theirs) = (read("Cargo.toml"), read("sdk/templates/rust/vendor/tidegate/Cargo.toml"));
        assert_eq!(ours["workspace"]["package"], theirs["workspace"]["package"]);
        let sdk = read("sdk/Cargo.toml");
        let kinds = ["dependencies", "build-dependencies"];
        let needed: BTreeSet<&String> = kinds.iter().flat_map(|kind| sdk[*kind].as_table().unwrap().keys()).collect();
        let vendored = theirs["workspace"]["dependencies"].as_table().unwrap();
        assert_eq!(needed, vendored.keys().collect());
        for name in needed {
            assert_eq!(ours["workspace"]["dependencies"][name], vendored[name], "{name}");
        }
    }

    #[test]
    fn a_template_takes_the_policys_name_in_both_forms() {
        assert_eq!(named("new-policy new_policy.wasm", "night-watch"), "night-watch night_watch.wasm");
    }

    #[test]
    fn only_failover_is_asked_today_and_every_other_kind_is_told_why_not() {
        assert!(known_kind("failover").is_ok());
        let cases =
            [("retention", "no host asks"), ("cost", "no host asks"), ("dns", "touches the world"), ("x", "no kind")];
        for (kind, why) in cases {
            let told = known_kind(kind).unwrap_err().to_string();
            assert!(told.contains(why) && told.contains("known here: failover"), "{told}");
        }
    }

    #[test]
    fn a_name_is_words_with_hyphens() {
        for good in ["a", "night-watch", "v2-night"] {
            assert!(good_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Night", "night_watch", "-a", "a-", "a--b", "2a", "../a", "nächt"] {
            assert!(good_name(bad).is_err(), "{bad}");
        }
    }
}
