//! Nothing that a secret holds is repeated by what is said about it.
//!
//! Done once for all that is found, not by each reader: a reader that forgets would be a leak.

use crate::config::{
    diagnostic::{Diagnostic, Diagnostics},
    raw::{Node, Place, ScalarPart, Value},
};

const STAND_IN: &str = "***";
/// Shorter secrets are words of every sentence; where they stand themselves they are hidden still.
const WORD: usize = 4;

/// A scalar with a secret in it.
struct Hidden<'a> {
    place: &'a Place,
    /// The whole value, and each secret piece of it.
    texts: Vec<String>,
}

/// Takes the tree's secrets out of every message and help.
pub(super) fn redact(root: &Node, found: &mut Diagnostics) {
    let mut hidden = Vec::new();
    collect(root, &mut hidden);
    if !hidden.is_empty() {
        for diagnostic in found.iter_mut() {
            clean(diagnostic, &hidden);
        }
    }
}

fn collect<'a>(node: &'a Node, hidden: &mut Vec<Hidden<'a>>) {
    match &node.value {
        Value::Null => {}
        Value::List(items) => items.iter().for_each(|item| collect(item, hidden)),
        Value::Map(entries) => entries
            .iter()
            .for_each(|entry| collect(&entry.value, hidden)),
        Value::Scalar(scalar) if scalar.is_secret() => {
            let pieces = scalar.parts.iter();
            let secret = pieces.filter(|part| matches!(part, ScalarPart::Secret(_)));
            let mut texts: Vec<String> = secret.map(|part| part.as_str().to_owned()).collect();
            texts.push(scalar.text());
            hidden.push(Hidden {
                place: &node.place,
                texts,
            });
        }
        Value::Scalar(_) => {}
    }
}

fn clean(diagnostic: &mut Diagnostic, hidden: &[Hidden<'_>]) {
    let place = diagnostic.place.as_ref();
    let here = place.and_then(|place| hidden.iter().find(|secret| secret.place.covers(place)));
    if let Some(secret) = here {
        // Readers quote values in whole, in part, or in other letters.
        diagnostic.message = without_quotes(&diagnostic.message);
        let shows = |help: &String| quotes(help).any(|quote| secret.shares(quote));
        if diagnostic.help.as_ref().is_some_and(shows) {
            let help = "correct the file that the value comes from";
            diagnostic.help = Some(help.to_owned());
        }
    }
    for text in hidden.iter().flat_map(|secret| &secret.texts) {
        if text.len() >= WORD {
            diagnostic.message = diagnostic.message.replace(text.as_str(), STAND_IN);
            if let Some(help) = &mut diagnostic.help {
                *help = help.replace(text.as_str(), STAND_IN);
            }
        }
    }
}

impl Hidden<'_> {
    fn shares(&self, quote: &str) -> bool {
        let quote = quote.to_lowercase();
        self.texts.iter().any(|text| {
            let text = text.to_lowercase();
            let (text, quote) = (text.trim(), quote.trim());
            let whole = text.contains(quote) || quote.contains(text);
            !text.is_empty() && !quote.is_empty() && (whole || overlap(text, quote))
        })
    }
}

/// Whether a piece of one text stands in the other, as when a reader mends what was written.
fn overlap(text: &str, quote: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    text.windows(WORD)
        .any(|piece| quote.contains(&piece.iter().collect::<String>()))
}

/// What stands in backticks.
fn quotes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// With nothing in the backticks.
fn without_quotes(text: &str) -> String {
    let last = text.rfind('`').map_or(0, |at| at + 1);
    let (first, rest) = (text.find('`'), text.get(last..).unwrap_or_default());
    match first.and_then(|at| text.get(..at)) {
        Some(head) => format!("{head}`{STAND_IN}`{rest}"),
        None => text.to_owned(),
    }
}
