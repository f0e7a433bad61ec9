//! `exchanges:` and `queues:`.

use std::collections::BTreeMap;

use lapin::types::AMQPValue;

use super::{
    arguments::arguments,
    section::{Section, named, nearest},
    values,
};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Binding, Exchange, Queue, QueueType},
    raw::{Key, Node, Place, Value},
};

/// Exchange or queue, and where its name stands.
pub(super) type Declared<'a, T> = BTreeMap<String, (&'a Place, T)>;

const QUEUE_TYPES: [(&str, QueueType); 3] = [
    ("quorum", QueueType::Quorum),
    ("classic", QueueType::Classic),
    ("stream", QueueType::Stream),
];

const EXCHANGE_TYPES: [&str; 4] = ["direct", "fanout", "topic", "headers"];

pub(super) fn exchanges<'a>(
    node: Option<&'a Node>,
    out: &mut Diagnostics,
) -> Declared<'a, Exchange> {
    let mut declared = BTreeMap::new();
    for (key, node) in named(node, "exchanges", out) {
        if !key_is_name(key, "exchange", out) {
            continue;
        }
        let Some(mut section) = Section::open(node, "exchanges.*", out) else {
            continue;
        };
        let kind = section
            .get("type", out)
            .and_then(|node| exchange_type(node, out));
        let flags = flags(
            &mut section,
            ["durable", "auto_delete", "internal", "external"],
            out,
        );
        let [durable, auto_delete, internal, external] = flags;
        let arguments = section
            .get("arguments", out)
            .map(|node| arguments(node, out));
        let bind = section.get("bind", out).map(|node| bindings(node, out));
        refuse_external(
            &section,
            external.unwrap_or(false),
            &["type", "arguments", "bind"],
            out,
        );
        section.finish(out);
        let exchange = Exchange {
            kind: kind.unwrap_or_else(|| "direct".to_owned()),
            durable: durable.unwrap_or(true),
            auto_delete: auto_delete.unwrap_or(false),
            internal: internal.unwrap_or(false),
            arguments: arguments.unwrap_or_default(),
            bind: bind.unwrap_or_default(),
            external: external.unwrap_or(false),
        };
        declared.insert(key.text.clone(), (&key.place, exchange));
    }
    declared
}

/// Plugins bring types of their own, so only a slip can be told.
fn exchange_type(node: &Node, out: &mut Diagnostics) -> Option<String> {
    let name = values::name(node, out)?;
    if EXCHANGE_TYPES.contains(&name.as_str()) {
        return Some(name);
    }
    if let Some(near) = nearest(&name, EXCHANGE_TYPES.into_iter()) {
        let message = format!("there is no exchange type `{name}`");
        out.error(&node.place, message, format!("did you mean `{near}`?"));
        return None;
    }
    Some(name)
}

pub(super) fn queues<'a>(
    node: Option<&'a Node>,
    default: QueueType,
    out: &mut Diagnostics,
) -> Declared<'a, Queue> {
    let mut declared = BTreeMap::new();
    for (key, node) in named(node, "queues", out) {
        if !key_is_name(key, "queue", out) {
            continue;
        }
        let Some(mut section) = Section::open(node, "queues.*", out) else {
            continue;
        };
        let kind = section
            .get("type", out)
            .and_then(|node| values::word(node, &QUEUE_TYPES, out));
        let flags = flags(
            &mut section,
            ["durable", "exclusive", "auto_delete", "external"],
            out,
        );
        let [durable, exclusive, auto_delete, external] = flags;
        let arguments = section
            .get("arguments", out)
            .map(|node| arguments(node, out));
        let bind = section.get("bind", out).map(|node| bindings(node, out));
        refuse_external(
            &section,
            external.unwrap_or(false),
            &["type", "arguments", "bind"],
            out,
        );
        let mut queue = Queue {
            durable: durable.unwrap_or(true),
            exclusive: exclusive.unwrap_or(false),
            auto_delete: auto_delete.unwrap_or(false),
            arguments: arguments.unwrap_or_default(),
            bind: bind.unwrap_or_default(),
            external: external.unwrap_or(false),
            ..plain(kind.unwrap_or(default))
        };
        check_type(&section, &mut queue, out);
        check_lifetime(&section, &queue, out);
        section.finish(out);
        declared.insert(key.text.clone(), (&key.place, queue));
    }
    declared
}

/// A queue of which nothing is said.
pub(super) fn plain(kind: QueueType) -> Queue {
    Queue {
        kind,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Default::default(),
        bind: Vec::new(),
        external: false,
    }
}

/// `{ EXCHANGE: key | [keys] | { routing_key, arguments } }`.
pub(super) fn bindings(node: &Node, out: &mut Diagnostics) -> Vec<Binding> {
    let mut found: Vec<Binding> = Vec::new();
    for (key, node) in named(Some(node), "bind", out) {
        if key.text.is_empty() {
            let help =
                "it hands every queue the messages with its name as routing key; remove this";
            out.error(
                &key.place,
                "nothing can be bound to the default exchange",
                help,
            );
            continue;
        }
        for item in values::items(node) {
            let Some((routing_key, arguments)) = binding(item, out) else {
                continue;
            };
            if routing_key.len() > values::NAME_LIMIT {
                out.error(
                    &item.place,
                    "a routing key has at most 255 bytes",
                    "shorten it",
                );
            }
            let again = found.iter().any(|known| {
                known.exchange == key.text
                    && known.routing_key == routing_key
                    && known.arguments == arguments
            });
            if again {
                let message = format!("bound to `{}` twice with `{routing_key}`", key.text);
                out.error(&item.place, message, "remove one of the two");
            }
            found.push(Binding {
                exchange: key.text.clone(),
                routing_key,
                arguments,
            });
        }
    }
    found
}

fn binding(node: &Node, out: &mut Diagnostics) -> Option<(String, lapin::types::FieldTable)> {
    if !matches!(node.value, Value::Map(_)) {
        return Some((values::text(node, out)?, Default::default()));
    }
    let mut section = Section::open(node, "queues.*.bind.*", out)?;
    let routing_key = section
        .get("routing_key", out)
        .and_then(|node| values::text(node, out));
    let arguments = section
        .get("arguments", out)
        .map(|node| arguments(node, out));
    section.finish(out);
    Some((
        routing_key.unwrap_or_default(),
        arguments.unwrap_or_default(),
    ))
}

fn flags<const N: usize>(
    section: &mut Section<'_>,
    keys: [&'static str; N],
    out: &mut Diagnostics,
) -> [Option<bool>; N] {
    keys.map(|key| {
        section
            .get(key, out)
            .and_then(|node| values::boolean(node, out))
    })
}

fn key_is_name(key: &Key, what: &str, out: &mut Diagnostics) -> bool {
    if key.text.is_empty() || key.text.starts_with("amq.") {
        let message = format!("the {what} `{}` would be the broker's own", key.text);
        let help = if what == "exchange" {
            "the broker's own exchanges need no declaration: remove it"
        } else {
            "names that begin with `amq.` are reserved: choose another"
        };
        out.error(&key.place, message, help);
        return false;
    }
    let valid = key.text.len() <= values::NAME_LIMIT;
    if !valid {
        let message = format!("a name has 1 to 255 bytes, this one has {}", key.text.len());
        out.error(&key.place, message, "shorten it");
    }
    valid
}

fn refuse_external(section: &Section<'_>, external: bool, keys: &[&str], out: &mut Diagnostics) {
    let given = keys
        .iter()
        .filter_map(|key| section.key(key))
        .filter(|_| external);
    for key in given {
        let message = format!("`{}` beside `external: true`", key.text);
        let help = "what is external is never declared or bound; remove it, or remove `external`";
        out.error(&key.place, message, help);
    }
}

/// The argument `x-queue-type` is the type, unless `type` says something else.
fn check_type(section: &Section<'_>, queue: &mut Queue, out: &mut Diagnostics) {
    let Some(AMQPValue::LongString(given)) = queue.arguments.inner().get("x-queue-type") else {
        return;
    };
    let given = given.to_string();
    let Some((_, kind)) = QUEUE_TYPES.iter().find(|(word, _)| *word == given) else {
        return;
    };
    if let Some(key) = section.key("type").filter(|_| *kind != queue.kind) {
        let message = format!("`type` and the argument `x-queue-type: {given}` differ");
        out.error(
            &key.place,
            message,
            "keep `type`, and remove `x-queue-type`",
        );
    }
    queue.kind = *kind;
}

/// Messages in such queues do not survive a restart; the broker refuses it for quorum queues.
fn check_lifetime(section: &Section<'_>, queue: &Queue, out: &mut Diagnostics) {
    for (key, weak) in [
        ("durable", !queue.durable),
        ("exclusive", queue.exclusive),
        ("auto_delete", queue.auto_delete),
    ] {
        let Some(key) = section.key(key).filter(|_| weak && !queue.external) else {
            continue;
        };
        if queue.kind == QueueType::Classic {
            let message = format!(
                "`{}`: messages in this queue may vanish with a restart",
                key.text
            );
            out.warning(
                &key.place,
                message,
                "leave it out where messages must not be lost",
            );
        } else {
            let message = format!(
                "a {} queue cannot have `{}` so",
                queue.kind.as_str(),
                key.text
            );
            out.error(
                &key.place,
                message,
                "write `type: classic`, or leave it out",
            );
        }
    }
}
