//! The checkout in memory: every text file, the Rust ones lexed, and what cargo says of the packages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::scan::Source;

/// What can go wrong before a rule has been asked.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file or directory that cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `cargo metadata` did not run or did not end well.
    #[error("cargo metadata failed: {0}")]
    Cargo(String),
    /// `cargo metadata` wrote something that is not its documented form.
    #[error("cargo metadata: expected {expected} in {place}")]
    Metadata {
        /// What was looked for.
        expected: &'static str,
        /// Where.
        place: String,
    },
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Part of the crate.
    Normal,
    /// Only for its tests.
    Test,
    /// Only for its build script.
    Build,
}

/// A line under `[dependencies]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name on the registry.
    pub name: String,
    /// The version asked for, as written (`^1`, `=0.3.1`).
    pub requirement: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether it is a crate of this workspace.
    pub inside: bool,
}

/// A package of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its directory from the root, `/` between parts.
    pub directory: String,
    /// `[package.metadata.house] floor`.
    pub floor: Option<u64>,
    /// Its integration-test binaries.
    pub tests: Vec<String>,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// The whole checkout.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Text files by their path from the root.
    pub files: BTreeMap<String, String>,
    /// The Rust ones of `files`, lexed.
    pub sources: BTreeMap<String, Source>,
    /// Paths of every file, text or not.
    pub paths: Vec<String>,
    /// The workspace's packages.
    pub packages: Vec<Package>,
}

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "__pycache__", ".venv"];

/// Larger files are data, not text that a person wrote.
const LARGEST_TEXT: u64 = 4 << 20;

impl Tree {
    /// The repository's root, as this crate's own place tells it.
    pub fn root() -> PathBuf {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.parent().unwrap_or(here).to_path_buf()
    }

    /// Reads the checkout at `root`.
    ///
    /// # Errors
    /// Where a file cannot be read or cargo does not understand the workspace.
    pub fn load(root: &Path) -> Result<Tree, TreeError> {
        let mut tree = Tree { packages: packages(root)?, ..Tree::default() };
        tree.walk(root, "")?;
        Ok(tree)
    }

    /// A tree of given files, for tests of rules.
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.add((*path).to_owned(), (*text).to_owned());
        }
        tree
    }

    fn add(&mut self, path: String, text: String) {
        if path.ends_with(".rs") {
            self.sources.insert(path.clone(), Source::read(&text));
        }
        self.paths.push(path.clone());
        self.files.insert(path, text);
    }

    fn walk(&mut self, directory: &Path, prefix: &str) -> Result<(), TreeError> {
        let fail = |source| TreeError::Read { path: directory.to_path_buf(), source };
        for entry in std::fs::read_dir(directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    self.walk(&entry.path(), &format!("{path}/"))?;
                }
            } else if kind.is_file() {
                self.read(&entry.path(), path)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, from: &Path, path: String) -> Result<(), TreeError> {
        let fail = |source| TreeError::Read { path: from.to_path_buf(), source };
        let bytes = match std::fs::metadata(from) {
            Ok(metadata) if metadata.len() > LARGEST_TEXT => Vec::from([0xff]),
            Ok(_) => std::fs::read(from).map_err(fail)?,
            // An editor's temporary file that is gone again.
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(fail(source)),
        };
        match String::from_utf8(bytes) {
            Ok(text) => self.add(path, text),
            Err(_) => self.paths.push(path),
        }
        Ok(())
    }

    /// Rust sources whose path begins with `prefix`.
    pub fn sources_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Source)> {
        self.sources
            .iter()
            .filter(move |(path, _)| path.starts_with(prefix))
            .map(|(path, source)| (path.as_str(), source))
    }
}

/// Whether a file as a whole is tests: a `tests` directory or a `tests.rs`.
pub fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

fn packages(root: &Path) -> Result<Vec<Package>, TreeError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| TreeError::Cargo(error.to_string()))?;
    if !output.status.success() {
        return Err(TreeError::Cargo(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| TreeError::Cargo(format!("unreadable answer: {error}")))?;
    let mut packages: Vec<Package> = array(&metadata, "packages", "the answer")?
        .iter()
        .map(|value| package(value, root))
        .collect::<Result<_, _>>()?;
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(packages)
}

fn package(value: &Value, root: &Path) -> Result<Package, TreeError> {
    let name = string(value, "name", "a package")?;
    let manifest = PathBuf::from(string(value, "manifest_path", &name)?);
    let directory = manifest.parent().and_then(|path| path.strip_prefix(root).ok()).unwrap_or(Path::new(""));
    let dependencies = array(value, "dependencies", &name)?
        .iter()
        .map(|dependency| {
            Ok(Dependency {
                name: string(dependency, "name", &name)?,
                requirement: string(dependency, "req", &name)?,
                purpose: match dependency["kind"].as_str() {
                    None => Purpose::Normal,
                    Some("dev") => Purpose::Test,
                    Some(_) => Purpose::Build,
                },
                inside: dependency["path"].is_string(),
            })
        })
        .collect::<Result<_, TreeError>>()?;
    let tests = array(value, "targets", &name)?
        .iter()
        .filter(|target| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "test")))
        .map(|target| string(target, "name", &name))
        .collect::<Result<_, TreeError>>()?;
    Ok(Package {
        tests,
        directory: directory.to_string_lossy().replace('\\', "/"),
        floor: value["metadata"]["house"]["floor"].as_u64(),
        dependencies,
        name,
    })
}

fn array<'a>(value: &'a Value, key: &'static str, place: &str) -> Result<&'a Vec<Value>, TreeError> {
    value[key].as_array().ok_or_else(|| TreeError::Metadata { expected: key, place: place.to_owned() })
}

fn string(value: &Value, key: &'static str, place: &str) -> Result<String, TreeError> {
    let found = value[key].as_str().map(str::to_owned);
    found.ok_or_else(|| TreeError::Metadata { expected: key, place: place.to_owned() })
}
