//! Files to one tree: layers, what they include, `--set`, and the values of `${…}`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use glob::{MatchOptions, Pattern, glob_with};

use super::{
    environment::{Environment, read_bounded},
    interpolate, merge, parse,
    set::parse_set,
    tree::{Node, Place, Scalar, Source, Value},
};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};

/// Files that one layer may include.
const INCLUDE_LIMIT: usize = 1_000;

/// The tree of all layers, each laid over those before it. `None` where a layer could not be read.
///
/// A file's `include` is followed and taken out of the tree.
pub fn load(
    files: &[PathBuf],
    set: &[String],
    env: &dyn Environment,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    // All are read before any failure counts, so that every mistake is reported at once.
    let mut layers = files
        .iter()
        .map(|file| Layer::read(file, env, diagnostics))
        .collect::<Vec<_>>();
    layers.extend(set.iter().map(|text| parse_set(text, diagnostics)));
    let mut layers = layers.into_iter().collect::<Option<Vec<_>>>()?.into_iter();
    let mut tree = layers.next()?;
    for over in layers {
        merge::layer(&mut tree, over);
    }
    interpolate::interpolate(&mut tree, env, diagnostics);
    Some(tree)
}

/// One file and what it includes, directly or not.
struct Layer<'a> {
    env: &'a dyn Environment,
    diagnostics: &'a mut Diagnostics,
    /// Each file is read once, which ends circles too.
    seen: Vec<PathBuf>,
    trees: Vec<Node>,
    failed: bool,
}

impl<'a> Layer<'a> {
    fn read(
        file: &Path,
        env: &'a dyn Environment,
        diagnostics: &'a mut Diagnostics,
    ) -> Option<Node> {
        let mut layer = Layer {
            env,
            diagnostics,
            seen: Vec::new(),
            trees: Vec::new(),
            failed: false,
        };
        layer.file(file, None);
        if layer.failed {
            return None;
        }
        let mut trees = layer.trees.into_iter();
        let mut tree = trees.next()?;
        for included in trees {
            merge::join(&mut tree, included, layer.diagnostics);
        }
        Some(tree)
    }

    /// Reads a file; `named` is where an `include` names it.
    fn file(&mut self, path: &Path, named: Option<&Place>) {
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.seen.contains(&identity) {
            return;
        }
        self.seen.push(identity);
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) => {
                self.failed = true;
                self.diagnostics.push(unreadable(path, named, &error));
                return;
            }
        };
        let source = Arc::new(Source {
            name: shown(path),
            text,
        });
        let Some(mut tree) = parse(source, self.diagnostics) else {
            self.failed = true;
            return;
        };
        match tree.value {
            Value::Map(_) => {}
            Value::Null => tree.value = Value::Map(Vec::new()),
            Value::Scalar(_) | Value::List(_) => {
                self.failed = true;
                self.diagnostics.error(
                    &tree.place,
                    "a configuration is a map, such as `routes:` with the routes below it",
                    "",
                );
                return;
            }
        }
        let include = take_include(&mut tree);
        self.trees.push(tree);
        if let Some(include) = include {
            self.include(include, path.parent().unwrap_or(Path::new("")));
        }
    }

    fn include(&mut self, mut include: Node, folder: &Path) {
        interpolate::interpolate(&mut include, self.env, self.diagnostics);
        let items = match include.value {
            Value::List(items) => items,
            Value::Scalar(_) => vec![include],
            Value::Null | Value::Map(_) => return self.not_a_path(&include.place),
        };
        for item in &items {
            let Value::Scalar(scalar) = &item.value else {
                self.not_a_path(&item.place);
                continue;
            };
            for path in self.paths(scalar, &item.place, folder) {
                if self.seen.len() > INCLUDE_LIMIT {
                    self.diagnostics.error(
                        &item.place,
                        format!("more than {INCLUDE_LIMIT} files are included"),
                        "",
                    );
                    self.failed = true;
                    return;
                }
                self.file(&path, Some(&item.place));
            }
        }
    }

    /// The files that one item of `include` names, sorted.
    fn paths(&mut self, scalar: &Scalar, place: &Place, folder: &Path) -> Vec<PathBuf> {
        let text = scalar.text();
        if !text.contains(['*', '?', '[']) {
            return vec![folder.join(text)];
        }
        let pattern = if Path::new(&text).is_absolute() || folder.as_os_str().is_empty() {
            text
        } else {
            format!("{}/{text}", Pattern::escape(&folder.to_string_lossy()))
        };
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let found = match glob_with(&pattern, options) {
            Ok(found) => found,
            Err(error) => {
                self.diagnostics.error(
                    place,
                    format!("this is not a pattern for files: {}", error.msg),
                    "`*` is any part of a name, `**` any folders, `?` one character, `[ab]` one of these",
                );
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for path in found.take(INCLUDE_LIMIT + 1) {
            match path {
                Ok(path) if path.is_dir() => {}
                Ok(path) => paths.push(path),
                Err(error) => {
                    self.failed = true;
                    self.diagnostics
                        .push(unreadable(error.path(), Some(place), error.error()));
                }
            }
        }
        if paths.is_empty() {
            self.diagnostics.warning(
                place,
                "no file matches this pattern",
                "paths are relative to the file that includes them",
            );
        }
        paths.sort();
        paths
    }

    fn not_a_path(&mut self, place: &Place) {
        self.diagnostics.error(
            place,
            "an include is the path of a file, or a pattern for several",
            "write `include: [routes/*.yaml]`",
        );
    }
}

fn take_include(tree: &mut Node) -> Option<Node> {
    let Value::Map(entries) = &mut tree.value else {
        return None;
    };
    let at = entries
        .iter()
        .position(|entry| entry.key.text == "include")?;
    Some(entries.remove(at).value)
}

fn unreadable(path: &Path, named: Option<&Place>, error: &std::io::Error) -> Diagnostic {
    let message = format!("`{}` cannot be read: {error}", shown(path));
    let help = match named {
        Some(_) => "paths are relative to the file that includes them",
        None => "name the configuration file with `-c FILE`; a first one is `hareway.yaml`",
    };
    Diagnostic {
        severity: Severity::Error,
        message,
        place: named.cloned(),
        related: Vec::new(),
        help: Some(help.to_owned()),
    }
}

/// The path relative to the working directory where possible.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.strip_prefix(&here).unwrap_or(path);
    path.strip_prefix("./")
        .unwrap_or(path)
        .display()
        .to_string()
}
