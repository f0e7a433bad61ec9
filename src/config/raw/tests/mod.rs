mod advice;
mod environment;
mod interpolate;
mod load;
mod parse;
mod set;

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use super::{Environment, Node, Scalar, Source, Value};
use crate::config::diagnostic::Diagnostics;

fn parsed(text: &str) -> (Option<Node>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let source = Source {
        name: "test.yaml".to_owned(),
        text: text.to_owned(),
    };
    let node = super::parse(Arc::new(source), &mut diagnostics);
    (node, diagnostics)
}

/// The value at a path of keys.
fn at<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
    path.iter().fold(node, |node, key| {
        let Value::Map(entries) = &node.value else {
            panic!("{key} is looked for in {:?}", node.value)
        };
        let entry = entries.iter().find(|entry| entry.key.text == *key);
        &entry.unwrap_or_else(|| panic!("no {key}")).value
    })
}

fn scalar<'a>(node: &'a Node, path: &[&str]) -> &'a Scalar {
    match &at(node, path).value {
        Value::Scalar(scalar) => scalar,
        other => panic!("{path:?} is {other:?}"),
    }
}

/// The messages, in order.
fn messages(diagnostics: &Diagnostics) -> Vec<&str> {
    diagnostics.iter().map(|d| d.message.as_str()).collect()
}

/// Where the diagnostics are, as `name:line:column`.
fn places(diagnostics: &Diagnostics) -> Vec<String> {
    diagnostics
        .iter()
        .map(|d| d.place.as_ref().map_or(String::new(), ToString::to_string))
        .collect()
}

/// An environment of the test's own.
#[derive(Default)]
struct Around {
    vars: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl Environment for Around {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|value| (*value).to_owned())
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        let text = self.files.get(path.to_str().unwrap());
        text.map(|text| (*text).to_owned())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}
