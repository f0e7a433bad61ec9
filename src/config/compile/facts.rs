//! What the routes say of each other: gathered while they are read, checked when all are known.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::Method;

use super::{section::nearest, topology::Declared, values};
use crate::{
    config::{
        diagnostic::{Diagnostic, Diagnostics, Severity},
        model::{Exchange, PathPattern, Queue, QueueType},
        paths::{Claims, Clash},
        raw::{Key, Node, Place},
    },
    template::{Source, Template},
};

/// What templates of a route may name.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    /// A request with these path parameters.
    Request(Vec<Arc<str>>),
    /// A message without a request's path.
    Message,
    /// A message that carries these path parameters.
    Carried(Vec<Arc<str>>),
    /// The reply to a request.
    Reply,
    /// Nothing is checked: the path itself is wrong.
    Anything,
}

/// A name in `to`, which something must declare.
pub(super) struct Use<'a> {
    name: String,
    exchange: bool,
    place: &'a Place,
}

struct Claimed<'a> {
    method: Option<Method>,
    path: String,
    place: &'a Place,
    route: &'a Key,
}

struct Consumed<'a> {
    route: &'a str,
    queue: String,
    shared: bool,
    place: &'a Place,
}

/// Queue, place and route.
type Parked<'a> = (String, &'a Place, &'a str);

/// Everything that is checked across routes.
#[derive(Default)]
pub(super) struct Facts<'a> {
    claims: Vec<Claimed<'a>>,
    consumed: Vec<Consumed<'a>>,
    /// Queues that routes declare themselves.
    declared: Vec<(String, Queue, &'a Place)>,
    pub(super) uses: Vec<Use<'a>>,
    pub(super) reply_timeouts: Vec<(Duration, &'a Place)>,
    pub(super) reply_queues: Vec<(String, &'a Place)>,
    pub(super) parked: Vec<Parked<'a>>,
    pub(super) body_limits: Vec<(u64, &'a Place)>,
}

// === impl Scope ===

impl Scope {
    /// The same, once the request has become a message.
    pub(super) fn carried(&self) -> Self {
        match self {
            Self::Request(names) | Self::Carried(names) => Self::Carried(names.clone()),
            Self::Message | Self::Reply => Self::Message,
            Self::Anything => Self::Anything,
        }
    }

    /// Reads a template and checks what it names.
    pub(super) fn template(&self, node: &Node, out: &mut Diagnostics) -> Option<Template> {
        let template = values::template(node, out)?;
        self.check(node, &template, out);
        Some(template)
    }

    pub(super) fn check(&self, node: &Node, template: &Template, out: &mut Diagnostics) {
        for source in template.references() {
            match (self, source) {
                (Self::Anything, _) => {}
                (Self::Request(known) | Self::Carried(known), Source::Path(name)) => {
                    if known.contains(name) {
                        continue;
                    }
                    let message = format!("the route's path has no parameter `{name}`");
                    let help = match nearest(name, known.iter().map(|known| &**known)) {
                        Some(near) => format!("did you mean `{{path.{near}}}`?"),
                        None if known.is_empty() => format!(
                            "the path has none; write for example `/…/{{{name}}}` in `from`"
                        ),
                        None => format!("it has: {}", known.join(", ")),
                    };
                    out.error(&place_of(node, name), message, help);
                }
                (Self::Message, Source::Path(name) | Source::Query(name)) => {
                    let message = format!("`{source}` on a route that takes messages from a queue");
                    let help = "there is no request here; use `{header.…}`, `{property.…}`, `{routing_key}` or `{json:/…}`";
                    out.error(&place_of(node, name), message, help);
                }
                (Self::Reply, Source::Path(name) | Source::Query(name)) => {
                    let message = format!("`{source}` where only the reply is at hand");
                    let help = "use the reply's `{header.…}`, `{property.…}` or `{json:/…}`";
                    out.error(&place_of(node, name), message, help);
                }
                (Self::Request(_), Source::Property(property)) => {
                    let message = format!("`{source}` on a route that takes HTTP in");
                    let header = property.as_str().replace('_', "-");
                    let help = format!("a request has headers only: `{{header.{header}}}`");
                    out.error(&place_of(node, property.as_str()), message, help);
                }
                (Self::Request(_), Source::RoutingKey) => {
                    let help = "there is none yet: this is where it is made";
                    out.error(
                        &place_of(node, "routing_key"),
                        "`{routing_key}` on a route that takes HTTP in",
                        help,
                    );
                }
                _ => {}
            }
        }
    }
}

/// The place of `word` within the node, where it can be found on its line.
fn place_of(node: &Node, word: &str) -> Place {
    let mut place = node.place.clone();
    let line = place
        .source
        .text
        .lines()
        .nth(place.line.saturating_sub(1))
        .unwrap_or_default();
    let rest: String = line.chars().skip(place.column.saturating_sub(1)).collect();
    if let Some(before) = rest.find(word).and_then(|at| rest.get(..at)) {
        place.column += before.chars().count();
        place.length = word.chars().count().max(1);
    }
    place
}

// === impl Use ===

impl<'a> Use<'a> {
    pub(super) fn queue(name: &str, place: &'a Place) -> Self {
        Self {
            name: name.to_owned(),
            exchange: false,
            place,
        }
    }

    pub(super) fn exchange(name: &str, place: &'a Place) -> Self {
        Self {
            name: name.to_owned(),
            exchange: true,
            place,
        }
    }
}

// === impl Facts ===

impl<'a> Facts<'a> {
    pub(super) fn claim(
        &mut self,
        method: Option<Method>,
        path: &PathPattern,
        place: &'a Place,
        route: &'a Key,
    ) {
        self.claims.push(Claimed {
            method,
            path: path.text.clone(),
            place,
            route,
        });
    }

    pub(super) fn consume(&mut self, route: &'a Key, queue: &str, shared: bool, place: &'a Place) {
        self.consumed.push(Consumed {
            route: &route.text,
            queue: queue.to_owned(),
            shared,
            place,
        });
    }

    pub(super) fn declare(&mut self, name: &str, queue: Queue, place: &'a Place) {
        self.declared.push((name.to_owned(), queue, place));
    }

    /// Adds the queues that routes declare to those of `queues:`.
    pub(super) fn complete(&mut self, queues: &mut Declared<'a, Queue>, out: &mut Diagnostics) {
        for (name, queue, place) in self.declared.drain(..) {
            match queues.get_mut(&name) {
                None => {
                    queues.insert(name, (place, queue));
                }
                Some((first, known)) if !queue.bind.is_empty() => {
                    if known.external {
                        let help = "what is external is never bound; remove `bind`, or `external`";
                        out.error(
                            place,
                            format!("`bind` for the external queue `{name}`"),
                            help,
                        );
                    } else if known.bind.is_empty() {
                        known.bind = queue.bind;
                    } else {
                        let mut diagnostic = Diagnostic::new(
                            Severity::Error,
                            place,
                            format!("the bindings of `{name}` stand in two places"),
                            "keep them in one of the two",
                        );
                        diagnostic
                            .related
                            .push(((*first).clone(), "the queue is declared here".to_owned()));
                        out.push(diagnostic);
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Everything that only shows when all is known.
    pub(super) fn check(
        &self,
        queues: &Declared<'a, Queue>,
        exchanges: &Declared<'a, Exchange>,
        out: &mut Diagnostics,
    ) {
        self.check_paths(out);
        self.check_consumers(queues, out);
        self.check_replies(out);
        self.check_parked(out);
        self.check_uses(queues, exchanges, out);
        self.check_bindings(queues, exchanges, out);
        // A route that could not be read may be the one that uses it.
        if !out.has_errors() {
            self.check_unused(queues, exchanges, out);
        }
    }

    fn check_paths(&self, out: &mut Diagnostics) {
        let mut claims = Claims::default();
        for (owner, claimed) in self.claims.iter().enumerate() {
            let clash = claims.claim(claimed.method.as_ref(), &claimed.path, owner);
            let (message, with, help) = match clash {
                Ok(()) => continue,
                Err(Clash::Same { with }) => (
                    "takes the same requests as another route",
                    Some(with),
                    "change the method or the path of one of them; the names of parameters do not tell paths apart",
                ),
                Err(Clash::Ambiguous { with }) => (
                    "overlaps with another path, and neither is the narrower one",
                    Some(with),
                    "make one a literal path, or give both the same wildcard",
                ),
                Err(Clash::Unusable) => (
                    "cannot be routed",
                    None,
                    "write one parameter a segment: `/orders/{id}`",
                ),
            };
            let name = &claimed.route.text;
            let message = format!("route `{name}` {message}");
            let mut diagnostic = Diagnostic::new(Severity::Error, claimed.place, message, help);
            if let Some(first) = with.and_then(|with| self.claims.get(with)) {
                diagnostic
                    .related
                    .push((first.place.clone(), format!("route `{}`", first.route.text)));
            }
            out.push(diagnostic);
        }
    }

    fn check_consumers(&self, queues: &Declared<'a, Queue>, out: &mut Diagnostics) {
        let mut first: BTreeMap<&str, &Consumed<'a>> = BTreeMap::new();
        for consumed in &self.consumed {
            if queues
                .get(&consumed.queue)
                .is_some_and(|(_, queue)| queue.kind == QueueType::Stream)
            {
                let help =
                    "a stream keeps what is acknowledged; deliver from a quorum or classic queue";
                out.error(
                    consumed.place,
                    format!("`{}` is a stream", consumed.queue),
                    help,
                );
            }
            let Some(known) = first.get(consumed.queue.as_str()) else {
                first.insert(&consumed.queue, consumed);
                continue;
            };
            if known.shared && consumed.shared {
                continue;
            }
            let message = format!("two routes take from the queue `{}`", consumed.queue);
            let help = "each message would reach one of them only; give each its own queue and bind both, or write `shared: true` in both";
            let mut diagnostic = Diagnostic::new(Severity::Error, consumed.place, message, help);
            diagnostic
                .related
                .push((known.place.clone(), "the first".to_owned()));
            out.push(diagnostic);
        }
    }

    /// Whoever else takes from a reply queue takes replies away from their callers.
    fn check_replies(&self, out: &mut Diagnostics) {
        for (name, place) in &self.reply_queues {
            let Some(consumed) = self.consumed.iter().find(|known| known.queue == *name) else {
                continue;
            };
            let message = format!("a route takes messages from the reply queue `{name}`");
            let help = "requests and replies need a queue each: rename one of them";
            let mut diagnostic = Diagnostic::new(Severity::Error, place, message, help);
            diagnostic
                .related
                .push((consumed.place.clone(), "the route".to_owned()));
            out.push(diagnostic);
        }
    }

    /// What is parked where its own route takes from comes back at once, for ever.
    fn check_parked(&self, out: &mut Diagnostics) {
        for (name, place, route) in &self.parked {
            let mut readers = self.consumed.iter();
            if readers.any(|known| known.queue == *name && known.route == *route) {
                let message = "a route cannot park into the queue it takes from";
                out.error(place, message, "name another queue");
            }
        }
    }

    /// Whether a route has replies or parked messages come into this queue.
    fn answers(&self, name: &str) -> bool {
        self.reply_queues.iter().any(|(queue, _)| queue == name)
            || self.parked.iter().any(|(queue, _, _)| queue == name)
    }

    fn check_uses(
        &self,
        queues: &Declared<'a, Queue>,
        exchanges: &Declared<'a, Exchange>,
        out: &mut Diagnostics,
    ) {
        for Use {
            name,
            exchange,
            place,
        } in &self.uses
        {
            let (what, section) = if *exchange {
                ("exchange", "exchanges")
            } else {
                ("queue", "queues")
            };
            if *exchange && exchanges.get(name).is_some_and(|(_, known)| known.internal) {
                let help = "publish to an exchange that it is bound to, or remove `internal`";
                out.error(
                    place,
                    format!("nobody can publish to `{name}`, it is internal"),
                    help,
                );
            }
            let known = if *exchange {
                exchanges.contains_key(name) || name.starts_with("amq.")
            } else {
                queues.contains_key(name) || self.answers(name)
            };
            if known {
                continue;
            }
            let near = if *exchange {
                nearest(name, exchanges.keys().map(String::as_str))
            } else {
                nearest(name, queues.keys().map(String::as_str))
            };
            let declare = format!(
                "declare it: `{section}: {{ {name}: {{}} }}`, with `external: true` if another team owns it"
            );
            let help = match near {
                Some(near) => format!("did you mean `{near}`? Otherwise {declare}"),
                None => declare,
            };
            out.error(
                place,
                format!("nothing declares or takes from the {what} `{name}`"),
                help,
            );
        }
    }

    fn check_bindings(
        &self,
        queues: &Declared<'a, Queue>,
        exchanges: &Declared<'a, Exchange>,
        out: &mut Diagnostics,
    ) {
        let of_queues = queues
            .values()
            .flat_map(|(place, queue)| queue.bind.iter().map(move |bind| (place, bind)));
        let of_exchanges = exchanges
            .values()
            .flat_map(|(place, exchange)| exchange.bind.iter().map(move |bind| (place, bind)));
        for (place, binding) in of_queues.chain(of_exchanges) {
            let name = &binding.exchange;
            if exchanges.contains_key(name) || name.starts_with("amq.") {
                continue;
            }
            let declare = format!("declare it: `exchanges: {{ {name}: {{ type: topic }} }}`");
            let help = match nearest(name, exchanges.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`? Otherwise {declare}"),
                None => declare,
            };
            out.error(
                place,
                format!("bound to the exchange `{name}`, which nothing declares"),
                help,
            );
        }
    }

    fn check_unused(
        &self,
        queues: &Declared<'a, Queue>,
        exchanges: &Declared<'a, Exchange>,
        out: &mut Diagnostics,
    ) {
        let used = |name: &str| {
            self.consumed.iter().any(|consumed| consumed.queue == name)
                || self
                    .uses
                    .iter()
                    .any(|used| !used.exchange && used.name == name)
                || self.answers(name)
        };
        for (name, (place, queue)) in queues {
            if queue.bind.is_empty() && !used(name) {
                let help = "remove it, bind it, or name it in a route";
                out.warning(
                    place,
                    format!("the queue `{name}` is declared and never used"),
                    help,
                );
            }
        }
        let bound = |name: &str| {
            let queues = queues.values().flat_map(|(_, queue)| &queue.bind);
            let exchanges = exchanges.values().flat_map(|(_, exchange)| &exchange.bind);
            queues
                .chain(exchanges)
                .any(|binding| binding.exchange == name)
        };
        for (name, (place, _)) in exchanges {
            if !bound(name)
                && !self
                    .uses
                    .iter()
                    .any(|used| used.exchange && used.name == *name)
            {
                let help = "remove it, bind a queue to it, or name it in a route";
                out.warning(
                    place,
                    format!("the exchange `{name}` is declared and never used"),
                    help,
                );
            }
        }
    }
}
