//! `${VAR}`, `${VAR:-default}` and `${file:/path}` inside parsed values, never on raw text: what
//! they stand for cannot break the YAML or shift its lines.

use std::path::Path;

use super::{
    environment::{Environment, is_name},
    tree::{Node, Place, ScalarPart, Value},
};
use crate::config::{
    diagnostic::{Diagnostic, Diagnostics, Severity},
    model::Secret,
};

/// Puts values into every scalar of the tree; keys stay as they are.
///
/// What cannot be resolved is reported, and further errors at its place are dropped.
pub fn interpolate(node: &mut Node, env: &dyn Environment, diagnostics: &mut Diagnostics) {
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => {
            for item in items {
                interpolate(item, env, diagnostics);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                interpolate(&mut entry.value, env, diagnostics);
            }
        }
        Value::Scalar(scalar) => {
            let parts = std::mem::take(&mut scalar.parts);
            let mut split = Split {
                place: &node.place,
                env,
                diagnostics,
                parts: &mut scalar.parts,
                failed: false,
            };
            for part in parts {
                match part {
                    ScalarPart::Text(text) => split.text(&text),
                    part => split.parts.push(part),
                }
            }
            if split.failed {
                diagnostics.settle(&node.place);
            }
        }
    }
}

struct Split<'a> {
    place: &'a Place,
    env: &'a dyn Environment,
    diagnostics: &'a mut Diagnostics,
    parts: &'a mut Vec<ScalarPart>,
    failed: bool,
}

impl Split<'_> {
    fn text(&mut self, text: &str) {
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            let after = from.get(2..).unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = after;
                continue;
            }
            literal.push_str(before);
            let Some(end) = closing(after) else {
                self.failed(
                    from,
                    "this `${` is not closed",
                    "close it with `}`, or write `$${` where `${` is meant as text",
                );
                rest = "";
                literal.push_str(from);
                break;
            };
            let (inner, tail) = after.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            if !literal.is_empty() {
                self.parts
                    .push(ScalarPart::Text(std::mem::take(&mut literal)));
            }
            let part = self.resolve(inner);
            self.parts.push(part);
        }
        literal.push_str(rest);
        if !literal.is_empty() || self.parts.is_empty() {
            self.parts.push(ScalarPart::Text(literal));
        }
    }

    fn resolve(&mut self, inner: &str) -> ScalarPart {
        let whole = format!("${{{inner}}}");
        if let Some(path) = inner.strip_prefix("file:") {
            return self.file(path, &whole);
        }
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            self.failed(
                &whole,
                format!("`{name}` cannot be the name of a variable"),
                "write `${NAME}`, `${NAME:-default}` or `${file:/path}`, or `$${` where `${` is meant as text",
            );
        } else if default.is_some_and(|default| default.contains("${")) {
            self.failed(
                &whole,
                "a default cannot hold another `${`",
                "a default is plain text",
            );
        } else if let Some(value) = self.env.var(name).filter(|value| !value.is_empty()) {
            return ScalarPart::Interpolated(value);
        } else if let Some(default) = default {
            return ScalarPart::Interpolated(default.to_owned());
        } else {
            self.failed(
                &whole,
                format!("the variable `{name}` is not set, or empty, and has no default"),
                format!(
                    "set it in the environment or by `--env-file`, or write `${{{name}:-default}}`"
                ),
            );
        }
        ScalarPart::Interpolated(whole)
    }

    fn file(&mut self, path: &str, whole: &str) -> ScalarPart {
        if path.is_empty() {
            self.failed(whole, "no file is named", "write `${file:/path}`");
            return ScalarPart::Interpolated(whole.to_owned());
        }
        match self.env.read_file(Path::new(path)) {
            Ok(mut text) => {
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                ScalarPart::Secret(Secret::new(text))
            }
            Err(error) => {
                self.failed(
                    whole,
                    format!("`{path}` cannot be read: {error}"),
                    "the file must exist and be readable by the user that runs hareway",
                );
                ScalarPart::Interpolated(whole.to_owned())
            }
        }
    }

    fn failed(&mut self, written: &str, message: impl Into<String>, help: impl Into<String>) {
        let place = within(self.place, written);
        self.diagnostics
            .push(Diagnostic::new(Severity::Error, &place, message, help));
        self.failed = true;
    }
}

/// Where the interpolation ends: the `}` that closes it, as a default may hold pairs of braces.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, char) in text.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The place of a piece of a value, where it stands on the value's first line as it is.
fn within(place: &Place, written: &str) -> Place {
    let line = place.source.text.lines().nth(place.line.saturating_sub(1));
    let before = place.column.saturating_sub(1);
    let from = line.map(|line| line.chars().skip(before).collect::<String>());
    let found = from.and_then(|text| {
        let at = text.find(written)?;
        Some(text.get(..at)?.chars().count())
    });
    match found {
        Some(at) => Place {
            source: place.source.clone(),
            line: place.line,
            column: place.column + at,
            length: written.chars().count(),
        },
        None => place.clone(),
    }
}
