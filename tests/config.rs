//! The configuration language, by files: what is valid loads, and each mistake is explained in the
//! very words beside it. `UPDATE_FIXTURES=1 cargo test --test config` writes those words anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use hareway::config::{self, Loaded, Sources, diagnostic::Diagnostics, raw::Environment};

/// Variables that no machine has, and the files of this checkout.
struct Bare;

impl Environment for Bare {
    fn var(&self, _name: &str) -> Option<String> {
        None
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

fn load(file: &Path) -> Result<Loaded, Diagnostics> {
    let sources = Sources {
        files: vec![file.to_owned()],
        set: Vec::new(),
    };
    config::load(&sources, &Bare)
}

/// Compares, or writes, what is said about a file: `NAME.txt` beside it, absent where it is nothing.
fn compare(file: &Path, said: &str, wrong: &mut BTreeMap<PathBuf, String>) {
    let expected = file.with_extension("txt");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        if said.is_empty() {
            drop(fs::remove_file(&expected));
        } else {
            fs::write(&expected, said).unwrap();
        }
        return;
    }
    let known = match fs::read_to_string(&expected) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        known => known.unwrap(),
    };
    if known != said {
        wrong.insert(expected, format!("expected:\n{known}\nsaid:\n{said}"));
    }
}

fn report(wrong: &BTreeMap<PathBuf, String>) {
    let all: Vec<String> = wrong
        .iter()
        .map(|(file, difference)| format!("=== {}\n{difference}", file.display()))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn each_mistake_is_explained_in_the_expected_words() {
    let files = files("tests/config/invalid");
    assert!(files.len() >= 45, "only {} invalid files", files.len());
    let mut wrong = BTreeMap::new();
    for file in files {
        match load(&file) {
            Ok(_) => {
                wrong.insert(file, "this is taken for valid".to_owned());
            }
            Err(found) => compare(&file, &found.to_string(), &mut wrong),
        }
    }
    report(&wrong);
}

#[test]
fn what_is_valid_loads_with_the_expected_doubts() {
    let mut wrong = BTreeMap::new();
    for file in files("tests/config/valid") {
        match load(&file) {
            Ok(loaded) => compare(&file, &loaded.warnings.to_string(), &mut wrong),
            Err(found) => {
                wrong.insert(file, found.to_string());
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_examples_load_without_a_doubt() {
    let loaded = load(Path::new("hareway.yaml")).unwrap_or_else(|found| panic!("{found}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}
