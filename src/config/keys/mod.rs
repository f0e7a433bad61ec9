//! Every key of the configuration: what the compiler accepts, the schema says and the reference
//! prints.
//!
//! Paths have `*` where a name of the user's choice stands: `routes.*.to.amqp`.

mod answers;
mod broker;
mod guards;
mod routes;
mod settings;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The whole path, the key's own name last.
    pub path: &'static str,
    pub kind: Kind,
    /// As it would be written; empty where there is none.
    pub default: &'static str,
    /// What it does, in sentences of Markdown.
    pub doc: &'static str,
    /// A value in YAML, fit for a flow map.
    pub example: &'static str,
}

/// What may be written as a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A text with `{…}` in it.
    Template,
    /// `250ms 5s 2m 1h 7d`.
    Duration,
    /// `64KiB 1MiB 20MB`.
    Size,
    Integer {
        low: u64,
        high: u64,
    },
    Boolean,
    /// IP address and port.
    Address,
    /// `2xx`, `502-504`, or a list of such.
    Statuses,
    /// `100/s`, `30/m`, `100/10s`.
    Rate,
    /// `connect`, `timeout`, statuses, or a list of such.
    Outcomes,
    Words(&'static [&'static str]),
    List(&'static Kind),
    /// A map whose keys are in the table under this path.
    Map,
    /// A map from names of the user's choice; what one may hold is in the table under `*`.
    Names,
    /// A map from header names to templates.
    Headers,
    /// A map from header names to texts.
    Texts,
    /// A map from exchanges to routing keys.
    Bindings,
    /// A map of AMQP arguments, of any depth.
    Arguments,
    /// Short and long forms of one value.
    Either(&'static [Kind]),
}

/// One line of the table: path, kind, default, example, doc.
const fn key(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        doc,
        example,
    }
}

/// Every key, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Key> {
    [
        settings::KEYS,
        broker::KEYS,
        routes::KEYS,
        answers::KEYS,
        guards::KEYS,
    ]
    .into_iter()
    .flatten()
}

/// The key at a path.
pub fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// The names of the keys that are allowed directly in the map at `path`; the top level's is empty.
pub fn children(path: &str) -> impl Iterator<Item = &'static str> {
    entries(path).map(Key::name)
}

/// The keys that are allowed directly in the map at `path`.
pub fn entries(path: &str) -> impl Iterator<Item = &'static Key> {
    all().filter(move |key| key.parent() == path && key.name() != "*")
}

/// What a key that this version does not have will be for.
pub fn not_available(path: &str, name: &str) -> Option<&'static str> {
    LATER
        .iter()
        .find(|(at, later, _)| *at == path && *later == name)
        .map(|(_, _, what)| *what)
}

/// Where a key of this name belongs, as people write it; `None` where there are several places.
pub fn elsewhere(name: &str) -> Option<String> {
    let mut places = all().filter(|key| key.name() == name && !key.path.contains(".bind."));
    let key = places.next()?;
    places
        .next()
        .is_none()
        .then(|| key.path.replace('*', "NAME"))
}

impl Key {
    /// The last word of the path.
    pub fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// The path of the map that holds it.
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }
}

/// Path, name and purpose of what later versions will know.
const LATER: &[(&str, &str, &str)] = &[
    ("routes.*", "verify", "checking the signatures of requests"),
    ("routes.*", "auth", "authenticating callers"),
    ("routes.*", "transform", "changing bodies on their way"),
    ("routes.*", "order", "keeping messages of one key in order"),
    (
        "routes.*",
        "claim",
        "answering at once and fetching the result later",
    ),
];

#[cfg(test)]
mod tests;
