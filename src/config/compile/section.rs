//! A map of the raw tree, read key by key: what nobody asked for is unknown.

use strsim::damerau_levenshtein;

use crate::config::{
    diagnostic::Diagnostics,
    keys,
    raw::{Entry, Key, Node, Place, Value},
};

/// A map while it is being read.
pub(super) struct Section<'a> {
    /// Its path in the configuration, with `*` for names: `routes.*.to.amqp`.
    path: String,
    pub(super) place: &'a Place,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// `None`, and an error, for what is not a map.
    pub(super) fn open(node: &'a Node, path: &str, out: &mut Diagnostics) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let keys: Vec<_> = keys::children(path).collect();
            let help = match keys.first() {
                Some(key) => format!("write a map, such as `{{ {key}: … }}`"),
                None => "write a map".to_owned(),
            };
            out.error(
                &node.place,
                format!(
                    "`{}` must be a map, not {}",
                    path.replace('*', "NAME"),
                    kind(node)
                ),
                help,
            );
            return None;
        };
        Some(Self {
            path: path.to_owned(),
            place: &node.place,
            entries,
            asked: Vec::new(),
        })
    }

    /// The value of `key`, where it is given. An explicit null is an error.
    pub(super) fn get(&mut self, key: &'static str, out: &mut Diagnostics) -> Option<&'a Node> {
        debug_assert!(
            keys::children(&self.path).any(|known| known == key),
            "`{}.{key}` is read but is not in the table of keys",
            self.path
        );
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key.text == key)?;
        not_null(entry, out)
    }

    /// The place of `key`, where it is given.
    pub(super) fn key(&self, key: &str) -> Option<&'a Key> {
        self.entries
            .iter()
            .find(|entry| entry.key.text == key)
            .map(|entry| &entry.key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.key(key).is_some()
    }

    /// Takes `key` as known without reading it: something else has been said about it.
    pub(super) fn ask(&mut self, key: &'static str) {
        self.asked.push(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self, out: &mut Diagnostics) {
        self.unknown(out);
    }

    /// The same, for a section of which nothing more will be read.
    pub(super) fn unknown(&self, out: &mut Diagnostics) {
        for entry in self.entries {
            let name = entry.key.text.as_str();
            if self.asked.contains(&name) {
                continue;
            }
            let (message, help) = self.explain(name);
            out.error(&entry.key.place, message, help);
        }
    }

    fn explain(&self, name: &str) -> (String, String) {
        if let Some(what) = keys::not_available(&self.path, name) {
            return (
                format!("`{name}` is not available in this version"),
                format!("remove it; it will be for {what}"),
            );
        }
        let message = match self.path.as_str() {
            "" => format!("unknown key `{name}` at the top of the file"),
            path => format!("unknown key `{name}` in `{}`", path.replace('*', "NAME")),
        };
        if let Some(near) = nearest(name, self.asked.iter().copied()) {
            return (message, format!("did you mean `{near}`?"));
        }
        let known = keys::children(&self.path).any(|known| known == name);
        if known {
            let message = format!("`{name}` does not apply here");
            return (
                message,
                "remove it; this route's flow has no use for it".to_owned(),
            );
        }
        if let Some(path) = keys::elsewhere(name) {
            return (message, format!("`{name}` belongs at `{path}`"));
        }
        let mut allowed = self.asked.clone();
        allowed.sort_unstable();
        (
            message,
            format!("the keys here are: {}", allowed.join(", ")),
        )
    }
}

/// The entries of a map keyed by names, without those that are null.
pub(super) fn named<'a>(
    node: Option<&'a Node>,
    path: &str,
    out: &mut Diagnostics,
) -> Vec<(&'a Key, &'a Node)> {
    let Some(node) = node else { return Vec::new() };
    let Value::Map(entries) = &node.value else {
        let message = format!("`{path}` must be a map from names, not {}", kind(node));
        out.error(&node.place, message, "write each as `name: { … }`");
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|entry| Some((&entry.key, not_null(entry, out)?)))
        .collect()
}

fn not_null<'a>(entry: &'a Entry, out: &mut Diagnostics) -> Option<&'a Node> {
    if matches!(entry.value.value, Value::Null) {
        let message = format!("`{}` has no value", entry.key.text);
        out.error(
            &entry.key.place,
            message,
            "give it a value, or remove the key to get the default",
        );
        return None;
    }
    Some(&entry.value)
}

/// The candidate that `word` was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// What a node is, in words.
pub(super) fn kind(node: &Node) -> &'static str {
    match &node.value {
        Value::Null => "nothing",
        Value::Scalar(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}
