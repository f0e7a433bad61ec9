//! From text to template. Interpolated text is literal whatever it holds.

use std::sync::Arc;

use super::{Part, Property, Source, Template};

/// Why a text is no template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// Which of the parts, from 0.
    pub part: usize,
    /// Characters before the mistake within that part.
    pub offset: usize,
    /// How many characters are meant; at least 1.
    pub length: usize,
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Words that name a source and take a name after a dot.
const NAMED: [&str; 4] = ["path", "query", "header", "property"];
const PROPERTIES: [Property; 12] = [
    Property::MessageId,
    Property::CorrelationId,
    Property::ContentType,
    Property::ContentEncoding,
    Property::ReplyTo,
    Property::Type,
    Property::UserId,
    Property::AppId,
    Property::Priority,
    Property::Expiration,
    Property::Timestamp,
    Property::DeliveryMode,
];
const SOURCES: &str = "`{path.NAME}`, `{query.NAME}`, `{header.NAME}`, `{property.NAME}`, `{routing_key}` or `{json:/POINTER}`; a brace that is meant as text is written twice";

/// The template of a text in parts, each with whether it is literal (interpolated or secret).
///
/// # Errors
/// The first mistake.
pub fn parse(parts: &[(String, bool)]) -> Result<Template, ParseError> {
    let mut scanner = Scanner::new(parts);
    let mut found = Vec::new();
    let mut literal = String::new();
    while let Some(at) = scanner.next() {
        if at.literal || !matches!(at.char, '{' | '}') {
            literal.push(at.char);
        } else if scanner.next_is(at.char) {
            scanner.next();
            literal.push(at.char);
        } else if at.char == '}' {
            return Err(at.error(
                1,
                "this `}` closes nothing",
                "a brace that is meant as text is written twice: `}}`",
            ));
        } else {
            if !literal.is_empty() {
                found.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            found.push(reference(at, &mut scanner)?);
        }
    }
    if !literal.is_empty() {
        found.push(Part::Literal(literal.into()));
    }
    Ok(Template::from_parts(found))
}

impl Template {
    /// What the template refers to, in order.
    pub fn references(&self) -> impl Iterator<Item = &Source> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value { source, .. } => Some(source),
            Part::Literal(_) => None,
        })
    }
}

impl Property {
    /// By the word that templates use.
    pub fn from_word(word: &str) -> Option<Self> {
        PROPERTIES
            .into_iter()
            .find(|property| property.as_str() == word)
    }
}

/// A character with its place.
#[derive(Clone, Copy)]
struct At {
    char: char,
    literal: bool,
    part: usize,
    offset: usize,
}

impl At {
    fn error(
        self,
        length: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> ParseError {
        ParseError {
            part: self.part,
            offset: self.offset,
            length: length.max(1),
            message: message.into(),
            help: help.into(),
        }
    }
}

struct Scanner {
    chars: std::iter::Peekable<std::vec::IntoIter<At>>,
}

impl Scanner {
    fn new(parts: &[(String, bool)]) -> Self {
        let chars = parts
            .iter()
            .enumerate()
            .flat_map(|(part, (text, literal))| {
                text.chars().enumerate().map(move |(offset, char)| At {
                    char,
                    literal: *literal,
                    part,
                    offset,
                })
            });
        Self {
            chars: chars.collect::<Vec<_>>().into_iter().peekable(),
        }
    }

    fn next(&mut self) -> Option<At> {
        self.chars.next()
    }

    fn next_is(&mut self, char: char) -> bool {
        self.chars
            .peek()
            .is_some_and(|next| !next.literal && next.char == char)
    }
}

/// What stands between braces; `open` is the first of them.
fn reference(open: At, scanner: &mut Scanner) -> Result<Part, ParseError> {
    let mut word = String::new();
    let mut fallback = None::<String>;
    let mut length = 1;
    loop {
        let Some(at) = scanner.next() else {
            return Err(open.error(
                length,
                "this `{` is not closed",
                "close it with `}`, or write `{{` where a brace is meant as text",
            ));
        };
        length += 1;
        match (at.char, &mut fallback) {
            ('}', _) if !at.literal => break,
            ('{', _) if !at.literal => {
                return Err(at.error(
                    1,
                    "braces cannot stand inside braces",
                    "a fallback is plain text; close the first brace before this one",
                ));
            }
            (char, Some(fallback)) => fallback.push(char),
            (_, None) if at.literal => {
                return Err(at.error(
                    1,
                    "an interpolated value cannot say what a template refers to",
                    "interpolated text is literal: write the reference out",
                ));
            }
            (':', None) if scanner.next_is('-') => {
                scanner.next();
                length += 1;
                fallback = Some(String::new());
            }
            (char, None) => word.push(char),
        }
    }
    let (verbatim, word) = match word.strip_prefix('*') {
        Some(word) => (true, word),
        None => (false, word.as_str()),
    };
    match source(word) {
        Ok(source) => Ok(Part::Value {
            source,
            verbatim,
            fallback: fallback.map(Arc::from),
        }),
        Err((message, help)) => Err(open.error(length, message, help)),
    }
}

type Mistake = (String, String);

fn source(word: &str) -> Result<Source, Mistake> {
    if word == "routing_key" {
        return Ok(Source::RoutingKey);
    }
    if let Some(pointer) = word.strip_prefix("json:") {
        return json(pointer);
    }
    let Some((kind, name)) = word.split_once('.') else {
        return Err(unknown(word));
    };
    if !NAMED.contains(&kind) {
        return Err(unknown(word));
    }
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err((
            format!("`{{{word}}}` has no usable name after `{kind}.`"),
            format!("write `{{{kind}.NAME}}`, without spaces"),
        ));
    }
    Ok(match kind {
        "path" => Source::Path(name.into()),
        "query" => Source::Query(name.into()),
        "header" => Source::Header(header(name)?),
        _ => Source::Property(property(name)?),
    })
}

/// A field name (RFC 9110 5.1), in lower case.
fn header(name: &str) -> Result<Arc<str>, Mistake> {
    match http::HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Ok(name.as_str().into()),
        Err(_) => Err((
            format!("`{name}` cannot be the name of a header"),
            "a header's name has letters, digits and `-`".to_owned(),
        )),
    }
}

fn property(name: &str) -> Result<Property, Mistake> {
    Property::from_word(name).ok_or_else(|| {
        let words = PROPERTIES.map(Property::as_str);
        let help = match nearest(name, words) {
            Some(word) => format!("did you mean `{{property.{word}}}`?"),
            None => format!("there are {}", words.join(", ")),
        };
        (format!("there is no message property `{name}`"), help)
    })
}

/// RFC 6901 3: empty, or each token after a slash, with `~0` and `~1` for `~` and `/`.
fn json(pointer: &str) -> Result<Source, Mistake> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err((
            format!("`{pointer}` is not a JSON pointer"),
            format!(
                "a pointer begins with a slash: `{{json:/{}}}`",
                pointer.replace('.', "/")
            ),
        ));
    }
    let escaped = pointer
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if !escaped {
        return Err((
            format!("`{pointer}` is not a JSON pointer: `~` stands alone"),
            "write `~0` for `~`, and `~1` for a slash within a name".to_owned(),
        ));
    }
    Ok(Source::Json(pointer.into()))
}

fn unknown(word: &str) -> Mistake {
    let message = if word.is_empty() {
        "there is nothing between the braces".to_owned()
    } else {
        format!("`{{{word}}}` refers to nothing that is known here")
    };
    let (kind, rest) = match word.split_once(['.', ':']) {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (word, None),
    };
    let known = NAMED.into_iter().chain(["json", "routing_key"]);
    let guess = match (nearest(kind, known), rest) {
        (Some("json"), Some(rest)) => format!("json:/{}", rest.trim_start_matches('/')),
        (Some("routing_key"), _) => "routing_key".to_owned(),
        (Some(kind @ ("path" | "query" | "header" | "property")), Some(rest)) => {
            format!("{kind}.{rest}")
        }
        (_, None) if Property::from_word(word).is_some() => format!("property.{word}"),
        (None, None) if !word.is_empty() && !word.contains(char::is_whitespace) => {
            format!("path.{word}")
        }
        _ => return (message, format!("write {SOURCES}")),
    };
    (
        message,
        format!("did you mean `{{{guess}}}`? Possible are {SOURCES}"),
    )
}

fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
