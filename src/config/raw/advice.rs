//! What to write instead of what YAML could not read, or read otherwise than it was meant.

use std::sync::Arc;

use serde_yaml::granit_parser::{ErrorKind, ScanError};

use super::{
    line::{Range, comment, trimmed, value},
    tree::{Place, Source},
};
use crate::config::{
    diagnostic::{Diagnostic, Severity},
    mask,
};

pub(super) const LEADING_BRACE: &str =
    "without quotes, braces at the beginning of a value are a map";
const BRACKET: &str =
    "look for its other half, or put quotes around the whole text that it belongs to";
const BRACES: &str =
    "a text with braces or brackets inside a `{…}` map or a `[…]` list needs quotes";

/// The diagnostic of a syntax error.
pub(super) fn for_error(source: &Arc<Source>, error: &ScanError) -> Diagnostic {
    let mark = error.marker();
    let at = Place {
        source: Arc::clone(source),
        line: mark.line().max(1),
        column: mark.col() + 1,
        length: 1,
    };
    let text = line(&at);
    let at_char = text.get(mark.col()).copied().unwrap_or(' ');
    if let Some(hash) = hidden_end(&at) {
        let message = "without quotes, `#` begins a comment, which hides the end of this line";
        return found(hash, message);
    }
    match error.kind() {
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            let message = match at_char {
                ':' => "without quotes, a text inside a map cannot hold `: `",
                _ => BRACES,
            };
            found(at, message)
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry
            if text
                .iter()
                .take(mark.col())
                .any(|c| matches!(c, '}' | ']' | '"' | '\'')) =>
        {
            found(
                at,
                "a value that begins with a bracket or a quote ends where that is closed",
            )
        }
        ErrorKind::MissingAnchorOrAliasName if at_char == '*' => found(
            at,
            "without quotes, `*` at the beginning of a value is an alias",
        ),
        ErrorKind::MappingValueNotAllowed if value(&text, mark.col()).is_some() => {
            found(at, "without quotes, a text cannot hold `: `")
        }
        ErrorKind::UnexpectedCharacter { character } => {
            let message = format!("a value cannot begin with `{character}` without quotes");
            found(at, message)
        }
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabNotAllowed => {
            error_at(tab(at), "a tab cannot indent", "indent with spaces")
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            let message = format!("this `{open}` is not closed");
            error_at(at, message, BRACKET)
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            let message = format!("this `{at_char}` closes nothing");
            error_at(at, message, BRACKET)
        }
        kind => match known(kind) {
            Some((message, help)) => error_at(at, message, help),
            None => error_at(
                at,
                format!("this is not YAML: {}", error.info()),
                "look at the quotes, brackets and indentation here and on the line before",
            ),
        },
    }
}

/// Mistakes that are said in words of our own, without a look at the line.
fn known(kind: &ErrorKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ErrorKind::MappingValueNotAllowed => (
            "a key is not expected here",
            "keys of one map begin in the same column; the line before may lack its `:` or its quotes",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar => (
            "something stands after the quote that closes this text",
            "a single quote within single quotes is written twice: `'it''s'`",
        ),
        ErrorKind::InvalidTrailingDoubleQuotedScalar => (
            "something stands after the quote that closes this text",
            "a double quote within double quotes is written `\\\"`",
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            "within double quotes `\\` begins an escape, and there is none of this kind",
            "use single quotes, or write `\\\\` for a backslash",
        ),
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => (
            "a quote that was opened before is not closed",
            "close it on the line where it begins",
        ),
        ErrorKind::SimpleKeyExpected => (
            "a `:` with a space after it is missing behind this key",
            "write `key: value`",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed => (
            "a list cannot begin on the line of its key",
            "write each `- item` on a line of its own, or `[item, item]`",
        ),
        ErrorKind::RecursionLimitExceeded => (
            "maps and lists are nested too deep here",
            "at most 64 may stand inside one another",
        ),
        _ => return None,
    })
}

/// The diagnostic of an alias that names nothing.
pub(super) fn for_alias(place: Place) -> Diagnostic {
    found(
        place,
        "without quotes, `*` at the beginning of a value is an alias, and no anchor has this name",
    )
}

/// The text that `#` hid where a value should be: `key: #`.
pub(super) fn swallowed(null: &Place) -> Option<(Place, String)> {
    let text = line(null);
    let start = comment(&text)?.at;
    let introduced = text.get(..start)?.iter().rev().find(|c| !c.is_whitespace());
    if !matches!(introduced, Some(':' | '-')) {
        return None;
    }
    let end = trimmed(&text, start, text.len());
    let written = text.get(start..end)?.iter().collect();
    Some((part(null, start..end), written))
}

/// The advice to write a text in quotes, unless it is a secret.
pub(super) fn write(place: &Place, text: &str) -> String {
    let start = place.column.saturating_sub(1);
    // A password inside a URL is left out of every diagnostic's text.
    let is_secret = mask::secrets(&place.source, place.line)
        .iter()
        .any(|secret| secret.start <= start && start < secret.end);
    if is_secret {
        return "put quotes around the whole text".to_owned();
    }
    format!("write {}", quoted(text))
}

/// A text in quotes, as YAML reads it.
fn quoted(text: &str) -> String {
    if text.contains(['"', '\\']) && !text.contains('\'') {
        return format!("'{text}'");
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn error_at(place: Place, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Severity::Error, &place, message, help)
}

/// The error for the value at a place, with that value in quotes as what to write.
fn found(at: Place, message: impl Into<String>) -> Diagnostic {
    let text = line(&at);
    let range = value(&text, at.column.saturating_sub(1));
    let written = range.and_then(|range| {
        let written = text.get(range.clone())?.iter().collect::<String>();
        Some((part(&at, range), written))
    });
    match written {
        Some((place, written)) if written.starts_with('{') => {
            let help = write(&place, &written);
            error_at(place, LEADING_BRACE, help)
        }
        Some((place, written)) => {
            let help = write(&place, &written);
            error_at(place, message, help)
        }
        None => error_at(at, message, "put quotes around the whole text"),
    }
}

fn line(place: &Place) -> Vec<char> {
    let line = place.source.text.lines().nth(place.line.saturating_sub(1));
    line.unwrap_or_default()
        .trim_start_matches('\u{feff}')
        .chars()
        .collect()
}

fn part(of: &Place, range: Range) -> Place {
    Place {
        source: Arc::clone(&of.source),
        line: of.line,
        column: range.start + 1,
        length: range.len().max(1),
    }
}

/// The tab that is meant by an error that may lie at the end of the line before it.
fn tab(at: Place) -> Place {
    let next = Place {
        line: at.line + 1,
        ..at.clone()
    };
    for place in [&at, &next] {
        let text = line(place);
        let indent = text.iter().take_while(|c| c.is_whitespace()).count();
        let first = text.iter().position(|c| *c == '\t');
        if let Some(first) = first.filter(|first| *first < indent) {
            return part(place, first..first + 1);
        }
    }
    at
}

/// How far back the reason of a missing bracket is looked for.
const LINES_BACK: usize = 50;

/// The `#` that began a comment with the closing bracket of a map or list in it.
fn hidden_end(at: &Place) -> Option<Place> {
    (at.line.saturating_sub(LINES_BACK).max(1)..=at.line)
        .rev()
        .find_map(|number| {
            let place = Place {
                line: number,
                ..at.clone()
            };
            let text = line(&place);
            let hash = comment(&text).filter(|hash| hash.open > 0)?;
            let hidden = text.get(hash.at..)?.iter();
            hidden
                .clone()
                .any(|c| matches!(c, '}' | ']'))
                .then(|| part(&place, hash.at..hash.at + 1))
        })
}
