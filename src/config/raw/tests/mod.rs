mod advice;

use std::sync::Arc;

use super::{Node, Scalar, Source, Value, parse};
use crate::config::diagnostic::Diagnostics;

fn parsed(text: &str) -> (Option<Node>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let source = Source {
        name: "test.yaml".to_owned(),
        text: text.to_owned(),
    };
    let node = parse(Arc::new(source), &mut diagnostics);
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
