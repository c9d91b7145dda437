//! `tidegate policy new`: a project that builds, passes its own tests and decides something sensible.
//!
//! Writes files and runs nothing. What they say is in `sdk/templates`, and what they need besides is a copy of this
//! repository's own SDK and contract: a project depends on no path of the machine that it was written on.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Args, Command, ValueEnum};
use serde::Serialize;
use tidegate_engine::World;

use super::kind::Kind;
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Tone, paint};

/// `policy new KIND NAME`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy new failover night-watch --lang rust
  tidegate policy new retention keep-quarters --lang python --dir ~/policies/keep-quarters
  tidegate policy new tiering cool-down --lang javascript
  tidegate policy new cost good-value --lang rust")]
pub struct New {
    /// What it decides.
    #[arg(value_parser = KindOnly(EnumValueParser::new()))]
    pub kind: Kind,
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
    /// What it decides.
    pub kind: Kind,
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

/// What the templates call a policy, in the three forms in which files name it; what it is for, and its world.
const NAME: &str = "new-policy";
const SUMMARY: &str = "new-summary";
const WORLD: &str = "new-world";

/// `place: "path in this repository"`, embedded.
macro_rules! files {
    ($($place:literal: $path:expr),* $(,)?) => {
        &[$(File { place: $place, text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path)) }),*]
    };
}

/// The same files of each kind's template, in the order of the kinds.
macro_rules! kinds {
    ($language:literal, $places:tt) => {
        [
            kinds!(@of $language, "failover", $places),
            kinds!(@of $language, "retention", $places),
            kinds!(@of $language, "tiering", $places),
            kinds!(@of $language, "cost", $places),
        ]
    };
    (@of $language:literal, $kind:literal, [$($place:literal),*]) => {
        files! { $($place: concat!("sdk/templates/", $language, "/", $kind, "/", $place)),* }
    };
}

/// What a kind's policy is.
const RUST: [&[File]; 4] = kinds!("rust", ["README.md", "settings.json", "src/lib.rs", "tests/claims.rs"]);
const PYTHON: [&[File]; 4] = kinds!("python", ["README.md", "settings.json", "policy.py", "test_policy.py"]);
const JAVASCRIPT: [&[File]; 4] = kinds!("javascript", ["README.md", "settings.json", "policy.js", "policy.test.js"]);

/// What is around it.
const RUST_PROJECT: &[File] = files! {
    "Cargo.toml": "sdk/templates/rust/Cargo.toml",
    "rust-toolchain.toml": "rust-toolchain.toml",
    "rustfmt.toml": "rustfmt.toml",
    ".cargo/config.toml": "sdk/templates/rust/.cargo/config.toml",
    ".gitignore": "sdk/templates/rust/.gitignore",
};

const PYTHON_PROJECT: &[File] = files! {
    "requirements.txt": "sdk/templates/python/requirements.txt",
    ".gitignore": "sdk/templates/python/.gitignore",
};

const JAVASCRIPT_PROJECT: &[File] = files! {
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
    "vendor/tidegate/sdk/src/cost.rs": "sdk/src/cost.rs",
    "vendor/tidegate/sdk/src/decision.rs": "sdk/src/decision.rs",
    "vendor/tidegate/sdk/src/export.rs": "sdk/src/export.rs",
    "vendor/tidegate/sdk/src/http.rs": "sdk/src/http.rs",
    "vendor/tidegate/sdk/src/lib.rs": "sdk/src/lib.rs",
    "vendor/tidegate/sdk/src/log.rs": "sdk/src/log.rs",
    "vendor/tidegate/sdk/src/money.rs": "sdk/src/money.rs",
    "vendor/tidegate/sdk/src/net.rs": "sdk/src/net.rs",
    "vendor/tidegate/sdk/src/period.rs": "sdk/src/period.rs",
    "vendor/tidegate/sdk/src/policy.rs": "sdk/src/policy.rs",
    "vendor/tidegate/sdk/src/provider.rs": "sdk/src/provider.rs",
    "vendor/tidegate/sdk/src/reach.rs": "sdk/src/reach.rs",
    "vendor/tidegate/sdk/src/retention.rs": "sdk/src/retention.rs",
    "vendor/tidegate/sdk/src/settings.rs": "sdk/src/settings.rs",
    "vendor/tidegate/sdk/src/situation.rs": "sdk/src/situation.rs",
    "vendor/tidegate/sdk/src/template.rs": "sdk/src/template.rs",
    "vendor/tidegate/sdk/src/tiering.rs": "sdk/src/tiering.rs",
    "vendor/tidegate/sdk/src/time.rs": "sdk/src/time.rs",
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
    fn files(self, kind: Kind) -> ([&'static [File]; 2], &'static [&'static [File]]) {
        match self {
            Language::Rust => ([RUST[kind as usize], RUST_PROJECT], &[RUST_SDK]),
            Language::Python => ([PYTHON[kind as usize], PYTHON_PROJECT], &[PYTHON_SDK, CONTRACT]),
            Language::JavaScript => ([JAVASCRIPT[kind as usize], JAVASCRIPT_PROJECT], &[JAVASCRIPT_SDK, CONTRACT]),
        }
    }
}

impl Kind {
    /// What its template does; good for a manifest, so in one line and without quotes.
    fn summary(self) -> &'static str {
        match self {
            Kind::Failover => "Leaves a site that is lost, for the best one that works",
            Kind::Retention => "Keeps what is young, what has to stay, and what that needs to be restored",
            Kind::Tiering => "Moves what nobody reads to where it costs less and can still be read in time",
            Kind::Cost => "Protects each service by the cheapest offer that meets its objectives",
        }
    }
}

/// Reads a kind, and says why a provider is none.
#[derive(Clone)]
struct KindOnly(EnumValueParser<Kind>);

impl TypedValueParser for KindOnly {
    type Value = Kind;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<Kind, clap::Error> {
        self.0.parse_ref(command, argument, value).map_err(|mut error| {
            let named = |world: &&World| [world.as_str(), world.slot_prefix()].iter().any(|name| value == *name);
            if let Some(world) = World::ALL.iter().find(named) {
                let why = format!("a {world} is no policy: it touches the world, and decides nothing");
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![why.into()]));
            }
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

/// Writes the project, unless something is there already.
pub fn run(console: &Console, asked: &New) -> Result<Exit, Failed> {
    good_name(&asked.name)?;
    let dir = asked.dir.clone().unwrap_or_else(|| PathBuf::from(&asked.name));
    make(&dir)?;
    let (own, shared) = asked.language.files(asked.kind);
    let mut files = Vec::new();
    for file in own.into_iter().flatten() {
        write(&dir, file.place, &named(file.text, asked.kind, &asked.name))?;
        files.push(file.place);
    }
    for file in shared.iter().copied().flatten() {
        write(&dir, file.place, file.text)?;
        files.push(file.place);
    }
    let written = Written { dir, kind: asked.kind, language: asked.language, files };
    console.show(&written, |written, _| told(written))?;
    Ok(Exit::Done)
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

/// The template of a kind under its new name.
fn named(text: &str, kind: Kind, name: &str) -> String {
    let text = text.replace(SUMMARY, kind.summary()).replace(WORLD, kind.world().as_str());
    text.replace(NAME, name).replace(&NAME.replace('-', "_"), &name.replace('-', "_"))
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

    use clap::ValueEnum;

    use super::{CONTRACT, File, Kind, Language, RUST_SDK, good_name, named};

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
    fn a_template_takes_the_policys_name_in_both_forms_and_its_kind() {
        let said = named("new-policy new_policy.wasm --world new-world", Kind::Tiering, "night-watch");
        assert_eq!(said, "night-watch night_watch.wasm --world tiering");
        assert_eq!(named("new-summary", Kind::Cost, "x"), Kind::Cost.summary());
    }

    #[test]
    fn each_kind_has_its_own_template_in_each_language() {
        for language in Language::value_variants() {
            let of = |kind: &Kind| language.files(*kind).0[0].iter().map(|file| file.text).collect::<Vec<_>>();
            for kind in Kind::value_variants() {
                let readme = of(kind).into_iter().find(|text| text.starts_with("# new-policy")).expect("a README");
                assert!(readme.contains(&format!("[slot.\"{}/new-policy\"]", kind.world())), "{language:?} {kind:?}");
            }
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
