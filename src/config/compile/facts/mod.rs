//! What the routes say of each other: gathered while they are read, checked when all are known.

use std::{collections::BTreeMap, time::Duration};

use http::Method;

mod circles;
mod names;
mod scope;

pub(super) use scope::Scope;

use super::topology::Declared;
use crate::config::{
    diagnostic::{Diagnostic, Diagnostics, Severity},
    model::{Exchange, PathPattern, Queue, QueueType},
    paths::{Claims, Clash},
    raw::{Key, Place},
};

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
        self.check_circles(out);
    }
}
