//! The raw tree: what the files say, and where they say it.

use std::{fmt, sync::Arc};

use crate::config::model::Secret;

/// One file as it was read.
#[derive(Debug)]
pub struct Source {
    /// As it is shown: relative to the working directory where possible, or `--set`.
    pub name: String,
    pub text: String,
}

/// A place in a source. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone)]
pub struct Place {
    pub source: Arc<Source>,
    pub line: usize,
    pub column: usize,
    /// How many characters are meant; at least 1, never past the end of the line.
    pub length: usize,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    /// Explicit `null`, `~`, or nothing at all.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Key,
    pub value: Node,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub text: String,
    pub place: Place,
}

/// A scalar after parsing and interpolation. The field that takes it decides its type.
#[derive(Debug, Clone)]
pub struct Scalar {
    pub parts: Vec<ScalarPart>,
    /// Written in quotes or as a block: never a number or a boolean by itself.
    pub quoted: bool,
}

/// A piece of a scalar. Templates are split from `Text` pieces only, so that interpolated text is
/// literal.
#[derive(Debug, Clone)]
pub enum ScalarPart {
    /// As written in the file, with `$${` already made `${`.
    Text(String),
    /// What `${VAR}` stood for.
    Interpolated(String),
    /// What `${file:…}` stood for: never printed.
    Secret(Secret),
}

impl Place {
    /// Whether the other place begins within this one.
    pub fn covers(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
            && self.line == other.line
            && (self.column..self.column + self.length).contains(&other.column)
    }
}

impl Scalar {
    /// The whole text, secrets included.
    pub fn text(&self) -> String {
        self.parts.iter().map(ScalarPart::as_str).collect()
    }

    /// Whether a part of it must never be printed.
    pub fn is_secret(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, ScalarPart::Secret(_)))
    }
}

impl ScalarPart {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Interpolated(text) => text,
            Self::Secret(secret) => secret.expose(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}
