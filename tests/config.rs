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

use hareway::config::{
    self, Loaded, Sources, diagnostic::Diagnostics, raw::Environment, reference, schema,
};

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

// === schema and reference ===

fn as_json(file: &Path) -> serde_json::Value {
    let text = fs::read_to_string(file).unwrap();
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn the_schema_takes_what_is_valid() {
    let schema = schema::schema();
    jsonschema::meta::validate(&schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut examples = files("routes");
    examples.push("hareway.yaml".into());
    for file in files("tests/config/valid").iter().chain(&examples) {
        let wrong: Vec<String> = schema
            .iter_errors(&as_json(file))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
    }
}

/// Mistakes of form, each of another kind, that an editor can show while they are made.
const OF_FORM: [&str; 14] = [
    "accepted-status",
    "bad-integer",
    "bad-status-class",
    "bad-word",
    "circuit-on-unknown-word",
    "duration-without-unit",
    "explicit-null",
    "key-in-wrong-place",
    "limits-rate-without-time",
    "map-instead-of-text",
    "not-available",
    "size-with-wrong-unit",
    "spool-not-a-boolean",
    "unknown-key",
];

#[test]
fn the_schema_sees_mistakes_of_form() {
    let schema = jsonschema::validator_for(&schema::schema()).unwrap();
    for name in OF_FORM {
        let file = PathBuf::from(format!("tests/config/invalid/{name}.yaml"));
        assert!(!schema.is_valid(&as_json(&file)), "{name}");
    }
}

#[test]
fn every_example_and_default_in_the_schema_fits_it() {
    fn walk(schema: &serde_json::Value, wrong: &mut Vec<String>) {
        match schema {
            serde_json::Value::Object(object) => {
                let examples = object.get("examples").and_then(|list| list.as_array());
                let values = examples.into_iter().flatten().chain(object.get("default"));
                // Where `default` and `examples` are names of keys, they hold schemas themselves.
                let values: Vec<_> = values
                    .filter(|_| object.contains_key("description"))
                    .collect();
                if !values.is_empty() {
                    let validator = jsonschema::validator_for(schema).unwrap();
                    let bad = values.iter().filter(|value| !validator.is_valid(value));
                    wrong.extend(bad.map(|value| format!("{value} for {schema}")));
                }
                object.values().for_each(|inner| walk(inner, wrong));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|inner| walk(inner, wrong)),
            _ => {}
        }
    }
    let mut wrong = Vec::new();
    walk(&schema::schema(), &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_reference_is_that_of_this_version() {
    let file = Path::new("docs/configuration.md");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(file, reference::markdown()).unwrap();
    }
    let written = fs::read_to_string(file).unwrap();
    assert_eq!(
        written,
        reference::markdown(),
        "write it anew: hareway schema --markdown > docs/configuration.md"
    );
}

#[test]
fn what_the_reference_begins_with_loads() {
    let reference = reference::markdown();
    let (introduction, _) = reference.split_once("\n## The top of the file\n").unwrap();
    let blocks: Vec<&str> = introduction.split("```yaml\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let (text, _) = block.split_once("```").unwrap();
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        fs::write(file.path(), text).unwrap();
        if let Err(found) = load(file.path()) {
            panic!("{text}\n{found}");
        }
    }
}

/// The fenced block after each link to an invalid file is that file, the next what is said of it.
#[test]
fn the_mistakes_in_the_documents_are_those_of_this_version() {
    let page = fs::read_to_string("docs/config-errors.md").unwrap();
    let mut shown = 0;
    for part in page.split("\n## ").skip(1) {
        let (_, rest) = part.split_once("](../tests/config/invalid/").unwrap();
        let (name, rest) = rest.split_once(".yaml)").unwrap();
        let blocks: Vec<&str> = rest.split("```").skip(1).step_by(2).collect();
        let read = |extension| {
            fs::read_to_string(format!("tests/config/invalid/{name}.{extension}")).unwrap()
        };
        let expected = [
            format!("yaml\n{}", read("yaml")),
            format!("text\n{}", read("txt")),
        ];
        assert_eq!(blocks, expected, "{name}");
        shown += 1;
    }
    assert_eq!(shown, 5);
}

/// What a reader copies from the documents works as it stands, with no doubts either. Blocks with
/// `routes:` are whole files; those of `config-errors.md` are mistakes on purpose.
#[test]
fn the_files_in_the_documents_load() {
    let folder = tempfile::tempdir().unwrap();
    let docs = fs::read_dir("docs").unwrap();
    let mut documents: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    documents.push("README.md".into());
    let (mut wrong, mut seen) = (BTreeMap::new(), 0);
    for document in documents {
        let markdown = document.extension().is_some_and(|kind| kind == "md");
        if !markdown || document.ends_with("config-errors.md") {
            continue;
        }
        let text = fs::read_to_string(&document).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap_or_default();
            if !yaml.lines().any(|line| line == "routes:") {
                continue;
            }
            seen += 1;
            let file = folder.path().join(format!("block-{seen}.yaml"));
            fs::write(&file, yaml).unwrap();
            let said = match load(&file) {
                Ok(loaded) => loaded.warnings.to_string(),
                Err(found) => found.to_string(),
            };
            if !said.is_empty() {
                wrong.insert(document.join(format!("block {seen}")), said);
            }
        }
    }
    assert!(seen >= 4, "only {seen} files in the documents");
    report(&wrong);
}
