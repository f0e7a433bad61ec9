//! Several trees made one.

use super::{
    parse::duplicate,
    tree::{Entry, Node, Value},
};
use crate::config::diagnostic::Diagnostics;

/// The maps whose entries are names that one layer may define once.
const NAMED: [&str; 3] = ["routes", "queues", "exchanges"];

/// Lays a later layer over the tree: maps merge, everything else replaces.
pub(super) fn layer(base: &mut Node, over: Node) {
    match (&mut base.value, over.value) {
        (Value::Map(entries), Value::Map(later)) => {
            for entry in later {
                match entries.iter_mut().find(|e| e.key.text == entry.key.text) {
                    Some(present) => layer(&mut present.value, entry.value),
                    None => entries.push(entry),
                }
            }
        }
        (value, later) => {
            *value = later;
            base.place = over.place;
        }
    }
}

/// Joins a further file of the same layer, where nothing may be said twice.
pub(super) fn join(base: &mut Node, file: Node, diagnostics: &mut Diagnostics) {
    let Value::Map(later) = file.value else {
        return;
    };
    let Value::Map(entries) = &mut base.value else {
        return;
    };
    for entry in later {
        let names = NAMED.contains(&entry.key.text.as_str());
        join_entry(entries, entry, names, diagnostics);
    }
}

fn join_entry(entries: &mut Vec<Entry>, entry: Entry, names: bool, diagnostics: &mut Diagnostics) {
    let Some(present) = entries.iter_mut().find(|e| e.key.text == entry.key.text) else {
        entries.push(entry);
        return;
    };
    match (&mut present.value.value, entry.value.value) {
        (Value::Map(inner), Value::Map(later)) => {
            for entry in later {
                match inner.iter().find(|e| names && e.key.text == entry.key.text) {
                    Some(first) => diagnostics.push(duplicate(&entry.key, &first.key.place)),
                    None => join_entry(inner, entry, false, diagnostics),
                }
            }
        }
        // `routes:` with nothing below it, in a file that leaves them to its includes.
        (_, Value::Null) => {}
        (value @ Value::Null, later) => *value = later,
        _ => diagnostics.push(duplicate(&entry.key, &present.key.place)),
    }
}
