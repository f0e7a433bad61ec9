//! Whether the queues and exchanges that are named exist and are used.

use super::{
    super::{section::nearest, topology::Declared},
    Facts, Use,
};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Exchange, Queue},
};

impl<'a> Facts<'a> {
    /// Whether a route has replies or parked messages come into this queue.
    pub(super) fn answers(&self, name: &str) -> bool {
        self.reply_queues.iter().any(|(queue, _)| queue == name)
            || self.parked.iter().any(|(queue, _, _)| queue == name)
    }

    pub(super) fn check_uses(
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

    pub(super) fn check_bindings(
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

    pub(super) fn check_unused(
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
