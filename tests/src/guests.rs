//! Policies in Rust, Python and JavaScript, tested and built as their authors do it, by the commands of their READMEs.
//!
//! The builders are fetched once, pinned, into the target folder; what was built is kept by its content, so that a second
//! run builds nothing. Knows no policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::binary;
use crate::tools::{NPM, fetched, npm_install, repository, run, target, works};

/// What a policy is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// The compiler is there: it has built this.
    Rust,
    /// Needs `python3`.
    Python,
    /// Needs `node` and `npm`.
    JavaScript,
}

/// A policy's sources, and where the language's own part and the contract are, seen from there.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its directory.
    pub dir: PathBuf,
    /// What it decides.
    pub kind: &'static str,
    language: Language,
    sdk: &'static str,
    wit: &'static str,
}

/// One tool, and one cargo, at a time: tests share what they fetch and build.
static ONE: Mutex<()> = Mutex::new(());

impl Language {
    /// Whether it can be built here.
    pub fn is_here(self) -> bool {
        let needs: &[(&str, &[&str])] = match self {
            Language::Rust => &[],
            Language::Python => &[("python3", &["-c", "import ensurepip, venv"])],
            Language::JavaScript => &[("node", &["--version"]), NPM],
        };
        needs.iter().all(|need| works(*need, &format!("no policy in {self:?} is tested")))
    }

    /// As it is named on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::JavaScript => "javascript",
        }
    }
}

impl Project {
    /// As `tidegate policy new` makes it. What it holds already is not written again, or cargo would build it again.
    pub fn new(language: Language, kind: &'static str, name: &str) -> Result<Self> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = tempfile::tempdir()?;
        let made = fresh.path().join(name);
        let mut new = Command::new(binary::tidegate());
        run(new.args(["policy", "new", kind, name, "--lang", language.word(), "--dir"]).arg(&made))?;
        let dir = target().join("authoring").join(name);
        for (place, text) in read(&made, &made)? {
            let path = dir.join(&place);
            if std::fs::read(&path).ok().as_ref() != Some(&text) {
                std::fs::create_dir_all(path.parent().context("it lies in the project")?)?;
                std::fs::write(&path, text)?;
            }
        }
        if language == Language::Rust {
            // The versions that this repository is tested with, so that nothing has to be fetched.
            std::fs::copy(repository().join("Cargo.lock"), dir.join("Cargo.lock"))?;
        }
        Ok(Project { dir, kind, language, sdk: ".", wit: "wit" })
    }

    /// One of this repository's examples, where it lies: a failover policy.
    pub fn example(language: Language, name: &str) -> Self {
        let sdk = if language == Language::Python { "../../sdk/python" } else { "../../sdk/javascript" };
        let dir = repository().join("examples").join(name);
        Project { dir, kind: "failover", language, sdk, wit: "../../wit/v0.1.0" }
    }

    /// Runs its own tests.
    pub fn test(&self) -> Result<()> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        match self.language {
            Language::Rust => run(self.cargo().arg("test")),
            Language::Python => run(self.command("python3").args(["-m", "unittest"])),
            Language::JavaScript => run(self.command("node").arg("--test")),
        }
    }

    /// Builds its component, or finds it built.
    pub fn component(&self) -> Result<PathBuf> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        match self.language {
            Language::Rust => self.built_by_cargo(),
            Language::Python => self.kept(|component| {
                let mut command = self.command(python_tools().join("bin/componentize-py"));
                command.args(["--wit-path", self.wit, "--world", self.kind, "componentize"]);
                command.args(["--python-path", ".", "--python-path", self.sdk, "component", "--output"]);
                run(command.arg(component))
            }),
            Language::JavaScript => self.kept(|component| {
                let words = self.build_script()?;
                let [program, arguments @ .., _] = &words[..] else { bail!("{words:?} builds nothing") };
                let program = javascript_tools().join("node_modules/.bin").join(program);
                run(self.command(program).args(arguments).arg(component))
            }),
        }
    }

    fn built_by_cargo(&self) -> Result<PathBuf> {
        run(self.cargo().args(["build", "--release", "--target", "wasm32-wasip2"]))?;
        let name = self.dir.file_name().context("it has a name")?.to_string_lossy().replace('-', "_");
        Ok(cargo_target().join("wasm32-wasip2/release").join(name).with_extension("wasm"))
    }

    /// What has been built from the same, else what is built now.
    fn kept(&self, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let built = target().join("authoring/components").join(self.digest()?).with_extension("wasm");
        if !built.exists() {
            std::fs::create_dir_all(built.parent().context("it has a place")?)?;
            let unfinished = built.with_extension("unfinished");
            build(&unfinished)?;
            std::fs::rename(&unfinished, &built)?;
        }
        Ok(built)
    }

    /// What `npm run build` runs; its last word is the component's file.
    fn build_script(&self) -> Result<Vec<String>> {
        let package: serde_json::Value = serde_json::from_slice(&std::fs::read(self.dir.join("package.json"))?)?;
        let script = package["scripts"]["build"].as_str().context("package.json has no script `build`")?;
        Ok(script.split(' ').map(str::to_owned).collect())
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        // An example is not to be littered with what a test leaves behind.
        command.current_dir(&self.dir).env("PYTHONPATH", self.sdk).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// In a target directory that all projects share: the SDK's dependencies are built once.
    fn cargo(&self) -> Command {
        let mut cargo = self.command(env!("CARGO"));
        // Set by who runs these tests, for this workspace, and wrong for another.
        for leak in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER"] {
            cargo.env_remove(leak);
        }
        cargo.env("CARGO_TARGET_DIR", cargo_target());
        cargo
    }

    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for directory in [&self.dir, &self.dir.join(self.sdk), &self.dir.join(self.wit)] {
            let sources = read(directory, directory)?;
            for (name, text) in sources.iter().filter(|(name, _)| name.extension().is_none_or(|kind| kind != "md")) {
                hash.update(name.as_os_str().as_encoded_bytes());
                hash.update(Sha256::digest(text));
            }
        }
        hash.update(pins(self.language)?);
        Ok(hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}

/// What `componentize-py` is installed in.
fn python_tools() -> &'static Path {
    static TOOLS: LazyLock<PathBuf> = LazyLock::new(|| {
        let pins = pins(Language::Python).expect("it is in the repository");
        let fetch = |tools: &Path| {
            run(Command::new("python3").args(["-m", "venv"]).arg(tools))?;
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
            run(Command::new(tools.join("bin/python")).args(pip).arg(pins_file(Language::Python)))
        };
        fetched("python", &pins, fetch).expect("componentize-py can be installed")
    });
    &TOOLS
}

/// What `componentize-qjs` is installed in.
fn javascript_tools() -> &'static Path {
    static TOOLS: LazyLock<PathBuf> = LazyLock::new(|| {
        let pins = pins(Language::JavaScript).expect("it is in the repository");
        fetched("javascript", &pins, |tools| npm_install(&pins, tools)).expect("componentize-qjs can be installed")
    });
    &TOOLS
}

fn pins(language: Language) -> Result<Vec<u8>> {
    let file = pins_file(language);
    std::fs::read(&file).with_context(|| format!("reading {}", file.display()))
}

/// The one place where a builder's version is written down: what a new project's author installs.
fn pins_file(language: Language) -> PathBuf {
    let file = if language == Language::Python { "python/requirements.txt" } else { "javascript/package.json" };
    repository().join("sdk/templates").join(file)
}

/// Every file below, by its place; what builders and interpreters leave behind does not count.
fn read(root: &Path, directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_file() {
            found.insert(path.strip_prefix(root)?.to_owned(), std::fs::read(&path)?);
        } else if !["__pycache__", ".venv", "node_modules", "target"].contains(&&*name) {
            found.extend(read(root, &path)?);
        }
    }
    Ok(found)
}

fn cargo_target() -> PathBuf {
    target().join("authoring/cargo")
}
