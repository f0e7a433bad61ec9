//! Templates: `order.placed.{path.region}`, compiled at load.

use std::{borrow::Cow, sync::Arc};

mod parse;
mod render;

pub use parse::{ParseError, parse};

/// A compiled template: literal text and references in turn.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// Some of the literal text must never be printed.
    secret: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Literal(Arc<str>),
    Value {
        source: Source,
        /// `{*…}`: dots and slashes are kept.
        verbatim: bool,
        /// `{…:-fallback}`: for a value that is absent, null or empty, or a body that is not JSON.
        fallback: Option<Arc<str>>,
    },
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(Arc<str>),
    Query(Arc<str>),
    /// In lower case.
    Header(Arc<str>),
    Property(Property),
    RoutingKey,
    /// RFC 6901.
    Json(Arc<str>),
}

/// The basic properties a template may name (AMQP 0-9-1, class basic).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    MessageId,
    CorrelationId,
    ContentType,
    ContentEncoding,
    ReplyTo,
    Type,
    UserId,
    AppId,
    Priority,
    Expiration,
    Timestamp,
    DeliveryMode,
}

/// What a request or a message offers to templates.
pub trait Values {
    /// `None` for a value that is absent, null or empty, or a body that is not JSON.
    fn get(&self, source: &Source) -> Option<Cow<'_, str>>;
}

/// Where rendered text will stand, which decides what a single value may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A value is one word: a dot in it is refused. At most 255 bytes (AMQP short string).
    RoutingKey,
    /// A value is one segment, percent-encoded; a whole one in the query.
    Url,
    /// As it is.
    Text,
}

/// Why a template could not be rendered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RenderError {
    #[error("`{0}` is missing and the template has no fallback for it")]
    Missing(String),
    #[error("the value of `{0}` has a dot, which would add a word to the routing key")]
    DotInWord(String),
    #[error("the routing key would be {0} bytes long; the limit is 255")]
    TooLong(usize),
    #[error("the value of `{0}` is a dot segment, which would climb the URL's path")]
    DotSegment(String),
}

impl Template {
    pub fn from_parts(parts: Vec<Part>) -> Self {
        Self {
            parts,
            secret: false,
        }
    }

    /// A template that is only this text.
    pub fn literal(text: &str) -> Self {
        Self::from_parts(vec![Part::Literal(text.into())])
    }

    /// The same, with literal text that must never be printed.
    #[must_use]
    pub fn into_secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Whether literal text of it must never be printed.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text, where the template refers to nothing.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.secret {
            f.write_str("[secret]")
        } else {
            f.debug_tuple("Template").field(&self.parts).finish()
        }
    }
}
