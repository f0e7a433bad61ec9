//! `--set 'queues."a.b".type=classic'`.

use std::sync::Arc;

use super::{
    parse::parse_padded,
    tree::{Entry, Key, Node, Place, Source, Value},
};
use crate::config::diagnostic::Diagnostics;

const HELP: &str = "write `--set PATH=VALUE`, with dots between keys and quotes around a key that has dots: \
     `--set 'queues.\"a.b\".type=classic'`";

/// The tree that a `--set` stands for: a layer of its own.
pub(super) fn parse_set(text: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
    let source = Arc::new(Source {
        name: "--set".to_owned(),
        text: text.to_owned(),
    });
    let place = |start: usize, end: usize| Place {
        source: Arc::clone(&source),
        line: 1,
        column: start + 1,
        length: end.saturating_sub(start).max(1),
    };
    let path = match path(text) {
        Ok(path) => path,
        Err((at, message)) => {
            diagnostics.error(&place(at, at + 1), message, HELP);
            return None;
        }
    };
    let value = parse_padded(&source, path.value_at, diagnostics)?;
    let start = place(0, text.chars().count());
    Some(path.keys.into_iter().rev().fold(value, |value, segment| {
        let key = Key {
            text: segment.text,
            place: place(segment.start, segment.end),
        };
        Node {
            place: start.clone(),
            value: Value::Map(vec![Entry { key, value }]),
        }
    }))
}

struct Segment {
    text: String,
    start: usize,
    end: usize,
}

struct SetPath {
    keys: Vec<Segment>,
    /// Characters before the value.
    value_at: usize,
}

fn path(text: &str) -> Result<SetPath, (usize, String)> {
    let mut chars = text.chars().enumerate().peekable();
    let mut keys = Vec::new();
    loop {
        let start = chars.peek().map_or(0, |(at, _)| *at);
        let mut key = String::new();
        let quote = chars.next_if(|(_, c)| matches!(c, '"' | '\''));
        let mut closed = quote.is_none();
        let separator = loop {
            match (chars.next(), quote) {
                (None, _) if !closed => {
                    return Err((start, "the quote of this key is not closed".to_owned()));
                }
                (None, _) => {
                    return Err((start, "there is no `=` with a value after it".to_owned()));
                }
                (Some((_, c)), Some((_, quote))) if !closed && c == quote => closed = true,
                (Some((_, c)), _) if !closed => key.push(c),
                (Some((at, c @ ('.' | '='))), _) => break (at, c),
                (Some((at, _)), Some(_)) => {
                    return Err((at, "a dot or `=` comes after a quoted key".to_owned()));
                }
                (Some((_, c)), None) => key.push(c),
            }
        };
        if key.is_empty() {
            return Err((start, "a key is empty".to_owned()));
        }
        keys.push(Segment {
            text: key,
            start,
            end: separator.0,
        });
        if separator.1 == '=' {
            return Ok(SetPath {
                keys,
                value_at: separator.0 + 1,
            });
        }
    }
}
