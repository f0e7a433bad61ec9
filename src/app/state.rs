//! What the admin listener asks about the running bridge.

use std::{collections::BTreeMap, sync::Arc};

use prometheus::Gauge;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Readiness},
    amqp::{Gate, NotReady, Publisher, Status},
    buffer::Buffer,
    config::{
        Config,
        model::{Deliver, Flow, Inbound, Route},
    },
    egress::CircuitView,
    store::{Answers, Store, Usage},
    telemetry::{Metrics, SpoolMetrics},
};

/// The parts that are asked, and the gauges that nothing else moves.
pub(super) struct State {
    status: Status,
    publisher: Publisher,
    buffer: Buffer,
    pub(super) draining: CancellationToken,
    limits: [Gauge; 2],
    kept: Option<Kept>,
    /// By route, where there is one.
    pub(super) circuits: BTreeMap<Arc<str>, CircuitView>,
    /// Whether every call finds a disk to be kept on where the broker is away.
    all_spooled: bool,
}

/// What is in the store.
struct Kept {
    store: Store,
    metrics: SpoolMetrics,
    /// The routes that have a spool, and the most bytes it may have.
    limits: Vec<(Arc<str>, u64)>,
    /// The keys and answers of the routes that have any.
    answers: Vec<Answers>,
    answers_limit: Gauge,
}

// === impl State ===

impl State {
    /// Gauges of a store are registered where there is one.
    pub(super) fn new(
        config: &Config,
        status: Status,
        publisher: Publisher,
        buffer: Buffer,
        store: Option<&Store>,
        metrics: &Metrics,
    ) -> Result<Self, prometheus::Error> {
        let inbound = |route: &Arc<Route>| route.inbound().cloned();
        let mut spooled = config.routes.iter().filter_map(inbound).peekable();
        let all_spooled =
            spooled.peek().is_some() && spooled.all(|inbound| inbound.spool.is_some());
        let kept = store.map(|store| Kept::new(config, store.clone(), metrics));
        Ok(Self {
            status,
            publisher,
            buffer,
            draining: CancellationToken::new(),
            limits: [metrics.limit("in_flight"), metrics.limit("buffer")],
            kept: kept.transpose()?,
            circuits: BTreeMap::new(),
            all_spooled,
        })
    }

    fn inbound_state(&self, route: &Route, inbound: &Inbound) -> String {
        let kept = self.kept.as_ref().filter(|_| inbound.spool.is_some());
        if let Some(kept) = kept {
            let usage = kept.usage(&route.name);
            if usage.messages > 0 {
                let seconds = age(&usage).round();
                return format!("spooling: {} messages, oldest {seconds}s", usage.messages);
            }
        }
        let why = match self.publisher.gate() {
            Gate::Open => return "accepting".to_owned(),
            Gate::Down => "the broker is not connected",
            Gate::Blocked => "the broker blocks publishers",
        };
        match kept {
            Some(kept) if kept.store.is_up() => format!("accepting into the spool: {why}"),
            _ => format!("refusing: {why}"),
        }
    }

    fn deliver_state(&self, route: &Route, deliver: &Deliver) -> String {
        if let Some(why) = self.status.consumer_problem(&deliver.source.queue) {
            return format!("not consuming: {why}");
        }
        let circuit = self.circuits.get(&route.name);
        match circuit.and_then(CircuitView::paused) {
            None => "consuming".to_owned(),
            Some(why) => format!("paused: {why}"),
        }
    }
}

impl admin::State for State {
    fn readiness(&self) -> Readiness {
        let mut found = Readiness::default();
        if self.draining.is_cancelled() {
            found.reasons.push(not_ready("process", "shutting down"));
        }
        let store_is_up = self.kept.as_ref().is_none_or(|kept| kept.store.is_up());
        let trouble = self.status.trouble();
        let broker_is_there = trouble.away.is_empty();
        // What may be spooled can be taken without the broker: to send callers elsewhere, where
        // the broker is as far away, would be to give the spool up.
        if self.all_spooled && store_is_up {
            found.warnings.extend(trouble.away);
        } else {
            found.reasons.extend(trouble.away);
        }
        found.reasons.extend(trouble.problems);
        if !store_is_up {
            let store = not_ready("store", "its file cannot be written");
            let needed = self.kept.iter().any(|kept| !kept.answers.is_empty());
            match broker_is_there && !needed {
                true => found.warnings.push(store),
                false => found.reasons.push(store),
            }
        }
        found
    }

    fn refresh(&self) {
        let [in_flight, buffer] = &self.limits;
        in_flight.set(self.publisher.used_ratio());
        buffer.set(self.buffer.used_ratio());
        if let Some(kept) = &self.kept {
            kept.refresh();
        }
    }

    fn route_state(&self, route: &Route) -> String {
        match &route.flow {
            Flow::Inbound(inbound) => self.inbound_state(route, inbound),
            Flow::Deliver(deliver) => self.deliver_state(route, deliver),
        }
    }
}

// === impl Kept ===

impl Kept {
    fn new(config: &Config, store: Store, metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let limit = |route: &Arc<Route>| {
            let spool = route.inbound()?.spool.as_ref()?;
            Some((route.name.clone(), spool.max_bytes))
        };
        let answers = |route: &Arc<Route>| {
            let settings = route.inbound()?.idempotency.as_ref()?;
            Some(store.answers(&route.name, settings))
        };
        Ok(Self {
            answers: config.routes.iter().filter_map(answers).collect(),
            answers_limit: metrics.limit("idempotency"),
            store,
            metrics: metrics.spool()?,
            limits: config.routes.iter().filter_map(limit).collect(),
        })
    }

    fn usage(&self, route: &str) -> Usage {
        let mut all = self.store.spooled().into_iter();
        let found = all.find(|(name, _)| **name == *route);
        found.map_or_else(Usage::default, |(_, usage)| usage)
    }

    fn refresh(&self) {
        self.metrics.store_up.set(i64::from(self.store.is_up()));
        let mut fullest = 0.0_f64;
        for (route, usage) in self.store.spooled() {
            self.metrics.route(
                &route,
                usage.messages,
                usage.bytes,
                age(&usage),
                usage.apart,
            );
            if let Some((_, limit)) = self.limits.iter().find(|(name, _)| *name == route) {
                let used = usage.bytes.saturating_add(usage.apart_bytes);
                fullest = fullest.max(used as f64 / (*limit).max(1) as f64);
            }
        }
        self.metrics.limit.set(fullest);
        let used = self.answers.iter().map(Answers::used_ratio);
        self.answers_limit.set(used.fold(0.0, f64::max));
    }
}

/// For how many seconds the first message in line has been there; 0 where there is none.
fn age(usage: &Usage) -> f64 {
    let age = usage.oldest.map(|oldest| oldest.elapsed());
    age.and_then(Result::ok).unwrap_or_default().as_secs_f64()
}

fn not_ready(part: &str, reason: &str) -> NotReady {
    NotReady {
        part: part.to_owned(),
        reason: reason.to_owned(),
    }
}
