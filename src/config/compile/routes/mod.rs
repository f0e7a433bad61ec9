//! `routes:`: each is read by what it joins, and compiled into one route or, with `via`, two.

mod answer;
mod consume;
mod deliver;
mod failure;
mod guards;
mod headers;
mod inbound;
mod source;
mod target;
mod via;

use std::sync::Arc;

use super::{
    facts::Facts,
    section::{Section, named},
    values,
};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Flow, QueueType, Route, Spool},
    raw::{Key, Node, Place},
};

/// What reading a route needs beside its own map.
pub(super) struct Context<'a, 'c> {
    pub(super) name: &'a Key,
    pub(super) body_limit: u64,
    pub(super) queue_type: QueueType,
    /// The spool of every accept route, if any, and what a route's own leaves out.
    pub(super) spool: &'c (Option<Spool>, Spool),
    pub(super) facts: &'c mut Facts<'a>,
    pub(super) out: &'c mut Diagnostics,
}

/// What a route joins.
enum Shape<'a> {
    Inbound {
        from: &'a Node,
        to: &'a Node,
    },
    Deliver {
        from: &'a Node,
        to: &'a Node,
    },
    Via {
        from: &'a Node,
        via: &'a Node,
        to: &'a Node,
    },
}

/// Every key of a route, so that each flow can say which of them are not its own.
const ALL: [&str; 12] = [
    "from",
    "to",
    "via",
    "reply",
    "retry",
    "park",
    "accepted",
    "headers",
    "spool",
    "idempotency",
    "limits",
    "circuit",
];

/// What the rest of the configuration says for every route.
pub(super) struct Common<'a> {
    pub(super) body_limit: u64,
    pub(super) queue_type: QueueType,
    pub(super) spool: Option<&'a Node>,
}

pub(super) fn routes<'a>(
    node: Option<&'a Node>,
    common: &Common<'a>,
    facts: &mut Facts<'a>,
    out: &mut Diagnostics,
) -> Vec<Arc<Route>> {
    let spool = guards::spool_of_all(common.spool, out);
    let mut compiled = Vec::new();
    for (name, node) in named(node, "routes", out) {
        if !valid_name(name, out) {
            continue;
        }
        let Some(section) = Section::open(node, "routes.*", out) else {
            continue;
        };
        let mut context = Context {
            name,
            body_limit: common.body_limit,
            queue_type: common.queue_type,
            spool: &spool,
            facts: &mut *facts,
            out: &mut *out,
        };
        for route in route(section, &mut context) {
            add(&mut compiled, Arc::new(route), name, out);
        }
    }
    compiled
}

/// Two halves of one name would share metrics and queues.
fn add(routes: &mut Vec<Arc<Route>>, route: Arc<Route>, name: &Key, out: &mut Diagnostics) {
    if routes.iter().any(|known| known.name == route.name) {
        let message = format!("a second route of the name `{}`", route.name);
        let help = "a route with `via` is also the route `NAME.deliver`; rename one of the two";
        out.error(&name.place, message, help);
    }
    routes.push(route);
}

/// A route's name becomes part of queues' names and the value of a metrics label.
fn valid_name(name: &Key, out: &mut Diagnostics) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = (1..=200).contains(&name.text.len()) && name.text.bytes().all(allowed);
    if !valid {
        let help =
            "use 1 to 200 letters, digits, `-`, `_` and `.`: it becomes part of queues' names";
        out.error(
            &name.place,
            format!("`{}` cannot name a route", name.text),
            help,
        );
    }
    valid
}

fn route<'a>(mut section: Section<'a>, context: &mut Context<'a, '_>) -> Vec<Route> {
    let Some(shape) = shape(&mut section, context) else {
        return Vec::new();
    };
    let flows = match shape {
        Shape::Inbound { from, to } => {
            inbound::compile(&mut section, from, to, context).map(|flow| vec![flow])
        }
        Shape::Deliver { from, to } => {
            deliver::compile(&mut section, from, to, context).map(|flow| vec![flow])
        }
        Shape::Via { from, via, to } => via::compile(&mut section, from, via, to, context),
    };
    section.finish(context.out);
    let names = [
        context.name.text.clone(),
        format!("{}.deliver", context.name.text),
    ];
    let place = context.name.place.to_string();
    let routes = flows.into_iter().flatten().zip(names);
    routes
        .map(|(flow, name)| Route {
            name: name.into(),
            place: place.clone(),
            flow,
        })
        .collect()
}

fn shape<'a>(section: &mut Section<'a>, context: &mut Context<'a, '_>) -> Option<Shape<'a>> {
    let [from, to, via] = ["from", "to", "via"].map(|key| section.get(key, context.out));
    let name = &context.name.text;
    let place = &context.name.place;
    let Some(from) = from else {
        let help = "say where its messages come from: `from: { http: \"POST /path\" }` or `from: { amqp: QUEUE }`";
        missing(
            section,
            place,
            format!("route `{name}` has no `from`"),
            help,
            context.out,
        );
        return None;
    };
    let Some(to) = to else {
        let help = "say where its messages go: `to: { amqp: QUEUE }` or `to: { http: \"http://host/path\" }`";
        missing(
            section,
            place,
            format!("route `{name}` has no `to`"),
            help,
            context.out,
        );
        return None;
    };
    let from = end(from, "routes.*.from", context.out)?;
    let to = end(to, "routes.*.to", context.out)?;
    match (from, to, via) {
        (End::Http(from), End::Amqp(to), None) => Some(Shape::Inbound { from, to }),
        (End::Amqp(from), End::Http(to), None) => Some(Shape::Deliver { from, to }),
        (End::Http(from), End::Http(to), Some(via)) => Some(Shape::Via { from, via, to }),
        (End::Http(_), End::Http(to), None) => {
            let help = "add `via: QUEUE` beside `to`: requests wait in that queue for the backend";
            context
                .out
                .error(&to.place, "from HTTP straight to HTTP", help);
            None
        }
        (End::Amqp(_), End::Amqp(to), _) => {
            let help =
                "bind the queue to the other exchange at the broker instead (`queues.*.bind`)";
            context
                .out
                .error(&to.place, "from a queue straight to the broker again", help);
            None
        }
        (_, _, Some(via)) => {
            let help = "`via` goes with `from: { http: … }` and `to: { http: … }`; remove it";
            context.out.error(
                &via.place,
                "`via` on a route that has a queue already",
                help,
            );
            None
        }
    }
}

/// Unknown keys explain a missing one, so they are reported too.
fn missing(
    section: &mut Section<'_>,
    place: &Place,
    message: String,
    help: &str,
    out: &mut Diagnostics,
) {
    out.error(place, message, help);
    for key in ALL {
        section.ask(key);
    }
    section.unknown(out);
}

/// One end of a route.
enum End<'a> {
    Http(&'a Node),
    Amqp(&'a Node),
}

fn end<'a>(node: &'a Node, path: &str, out: &mut Diagnostics) -> Option<End<'a>> {
    let mut section = Section::open(node, path, out)?;
    let http = section.get("http", out);
    let amqp = section.get("amqp", out);
    let found = match (http, amqp) {
        (Some(_), Some(amqp)) => {
            out.error(
                &amqp.place,
                "both `http` and `amqp`",
                "keep one; a second route serves the other",
            );
            None
        }
        (Some(http), None) => Some(End::Http(http)),
        (None, Some(amqp)) => Some(End::Amqp(amqp)),
        (None, None) => {
            if section.is_empty() {
                out.error(
                    section.place,
                    "neither `http` nor `amqp`",
                    "write one of the two",
                );
            }
            None
        }
    };
    section.finish(out);
    found
}

/// A flow with the part of its route's keys that it does not use left unread.
pub(super) type Compiled = Option<Flow>;

/// `key`'s value as a map or, in its short form, as a single value.
pub(super) fn is_short(node: &Node) -> bool {
    matches!(node.value, crate::config::raw::Value::Scalar(_))
}

/// A duration by key, or its default.
pub(super) fn duration_or(
    section: &mut Section<'_>,
    key: &'static str,
    default: std::time::Duration,
    out: &mut Diagnostics,
) -> std::time::Duration {
    let node = section.get(key, out);
    node.and_then(|node| values::positive_duration(node, out))
        .unwrap_or(default)
}
