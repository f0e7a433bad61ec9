use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Around, at, messages, scalar};
use crate::config::{
    diagnostic::{Diagnostics, Severity},
    raw::{Node, Value, load},
};

struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, names: &[&str], set: &[&str]) -> (Option<Node>, Diagnostics) {
        let mut diagnostics = Diagnostics::default();
        let names = names.iter().map(|name| self.path(name)).collect::<Vec<_>>();
        let set = set.iter().map(|text| (*text).to_owned());
        let env = Around {
            vars: [("DIR", "routes")].into(),
            ..Around::default()
        };
        let node = load(&names, &set.collect::<Vec<_>>(), &env, &mut diagnostics);
        (node, diagnostics)
    }
}

fn keys(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|e| e.key.text.as_str()).collect(),
        other => panic!("{other:?} is no map"),
    }
}

#[test]
fn later_layers_merge_maps_and_replace_the_rest() {
    let files = Files::new(&[
        (
            "a.yaml",
            "http: { listen: x, body_limit: 1MiB }\nl: [1, 2]\ns: 1\n",
        ),
        (
            "b.yaml",
            "http: { listen: y }\nl: [3]\ns: { deep: '${DIR}' }\n",
        ),
    ]);
    let (node, diagnostics) = files.load(&["a.yaml", "b.yaml"], &["http.body_limit=2MiB"]);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    let node = node.unwrap();
    assert_eq!(scalar(&node, &["http", "listen"]).text(), "y");
    assert!(
        at(&node, &["http", "listen"])
            .place
            .source
            .name
            .ends_with("b.yaml")
    );
    assert_eq!(scalar(&node, &["http", "body_limit"]).text(), "2MiB");
    assert_eq!(scalar(&node, &["s", "deep"]).text(), "routes");
    let Value::List(items) = &at(&node, &["l"]).value else {
        panic!("no list")
    };
    assert_eq!(items.len(), 1);
}

#[test]
fn includes_are_sorted_relative_and_gone_from_the_tree() {
    let files = Files::new(&[
        (
            "a.yaml",
            "include: ['${DIR}/*.yaml', one.yaml]\nroutes:\nqueues: { q: {} }\n",
        ),
        ("routes/z.yaml", "routes: { z: {} }\n"),
        ("routes/b.yaml", "routes: { b: {} }\nqueues: { b: {} }\n"),
        ("routes/.hidden.yaml", "routes: { hidden: {} }\n"),
        ("routes/deep/x.yaml", "routes: { deep: {} }\n"),
        ("one.yaml", "include: more/two.yaml\nroutes: { one: {} }\n"),
        // Circles end.
        (
            "more/two.yaml",
            "include: [../one.yaml, ../a.yaml, '*.yaml']\nroutes: { two: {} }\n",
        ),
    ]);
    let (node, diagnostics) = files.load(&["a.yaml"], &[]);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    let node = node.unwrap();
    assert_eq!(keys(&node), ["routes", "queues"]);
    assert_eq!(keys(at(&node, &["routes"])), ["b", "z", "one", "two"]);
    assert_eq!(keys(at(&node, &["queues"])), ["q", "b"]);
}

#[test]
fn one_layer_defines_a_name_once() {
    let files = Files::new(&[
        ("a.yaml", "include: ['r/*']\nhttp: { listen: x }\n"),
        ("r/1.yaml", "routes:\n  x: { from: 1 }\n"),
        (
            "r/2.yaml",
            "routes:\n  y: {}\n  x: { to: 1 }\nhttp: { listen: y, body_limit: 1MiB }\n",
        ),
    ]);
    let (node, diagnostics) = files.load(&["a.yaml"], &[]);
    assert_eq!(
        messages(&diagnostics),
        ["`x` is defined twice", "`listen` is defined twice"]
    );
    let first = diagnostics.iter().next().unwrap();
    assert!(
        first
            .place
            .as_ref()
            .unwrap()
            .to_string()
            .ends_with("2.yaml:3:3")
    );
    assert!(first.related[0].0.to_string().ends_with("1.yaml:2:3"));
    assert_eq!(
        scalar(&node.unwrap(), &["http", "body_limit"]).text(),
        "1MiB"
    );
}

#[test]
fn a_pattern_without_files_is_a_doubt_and_a_missing_file_an_error() {
    let files = Files::new(&[("a.yaml", "include: ['none/*.yaml']\na: 1\n")]);
    let (node, diagnostics) = files.load(&["a.yaml"], &[]);
    assert!(node.is_some());
    let found = diagnostics.iter().next().unwrap();
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(found.place.as_ref().unwrap().column, 11);

    let files = Files::new(&[("a.yaml", "include: none.yaml\n")]);
    let (node, diagnostics) = files.load(&["a.yaml"], &[]);
    assert!(node.is_none());
    let found = diagnostics.iter().next().unwrap();
    assert!(
        found.message.contains("none.yaml` cannot be read"),
        "{found}"
    );
    assert_eq!(found.place.as_ref().unwrap().line, 1);
}

#[test]
fn a_missing_main_file_says_what_to_do_beside_every_other_mistake() {
    let files = Files::new(&[("b.yaml", "a: x: y\n"), ("c.yaml", "- a\n")]);
    let (node, diagnostics) = files.load(&["a.yaml", "b.yaml", "c.yaml"], &["a"]);
    assert!(node.is_none());
    assert_eq!(diagnostics.iter().count(), 4, "{diagnostics}");
    let first = diagnostics.iter().next().unwrap();
    assert!(first.place.is_none());
    assert!(first.help.as_ref().unwrap().contains("-c FILE"));
}

#[test]
fn what_is_no_path_is_said() {
    let files = Files::new(&[
        ("a.yaml", "include: { a: b }\n"),
        ("b.yaml", "include: [[x], 'x[']\n"),
    ]);
    assert_eq!(files.load(&["a.yaml"], &[]).1.iter().count(), 1);
    let (_, diagnostics) = files.load(&["b.yaml"], &[]);
    assert_eq!(diagnostics.iter().count(), 2, "{diagnostics}");
}

#[test]
fn an_empty_file_is_an_empty_map() {
    let files = Files::new(&[("a.yaml", "# nothing\n")]);
    let (node, diagnostics) = files.load(&["a.yaml"], &[]);
    assert!(diagnostics.is_empty());
    assert!(keys(&node.unwrap()).is_empty());
}

#[test]
fn too_many_files_are_refused() {
    let names = (0..1_001)
        .map(|n| format!("r/{n}.yaml"))
        .collect::<Vec<_>>();
    let mut all = names
        .iter()
        .map(|name| (name.as_str(), ""))
        .collect::<Vec<_>>();
    all.push(("a.yaml", "include: r/*.yaml\n"));
    let files = Files::new(&all);
    let (node, diagnostics) = files.load(&["a.yaml"], &[]);
    assert!(node.is_none());
    assert_eq!(
        messages(&diagnostics),
        ["more than 1000 files are included"]
    );
    std::fs::remove_file(files.path("r/0.yaml")).unwrap();
    assert!(files.load(&["a.yaml"], &[]).1.is_empty());
}

#[test]
fn a_folder_is_no_file() {
    let files = Files::new(&[("d/a.yaml", "")]);
    assert!(files.load(&["d"], &[]).0.is_none());
    assert!(Path::new(&files.path("d/a.yaml")).exists());
}
