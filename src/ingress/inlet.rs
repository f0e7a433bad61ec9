//! A route as requests meet it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapin::types::ShortString;
use tokio::time::Instant;

use super::{idempotency::Guard, limits::Limits, spool::Outbox};
use crate::{
    amqp::Outcome,
    config::model::{Answer, Inbound, Route, Unroutable},
    telemetry::{Metrics, RouteMetrics, Side},
};

/// The least time between two warnings of one route: an outage must not become a flood of lines.
const QUIET: Duration = Duration::from_secs(1);

/// An inbound route with what it needs at hand.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) name: Arc<str>,
    pub(super) inbound: Inbound,
    pub(super) exchange: ShortString,
    /// Where a worker is told to reply, on request/reply routes.
    pub(super) reply_to: ShortString,
    /// Where messages wait while the broker does not take them, on routes with a spool.
    pub(super) outbox: Option<Arc<Outbox>>,
    /// Recognises repeated calls, on routes with `idempotency`.
    pub(super) guard: Option<Arc<Guard>>,
    pub(super) limits: Limits,
    pub(super) metrics: RouteMetrics,
    last_warning: Mutex<Option<Instant>>,
    unwarned: AtomicU64,
}

/// A name in the configuration that AMQP cannot carry.
#[derive(Debug, thiserror::Error)]
#[error("the route `{route}` names `{name}`, which is longer than 255 bytes")]
pub struct NameTooLong {
    pub route: String,
    pub name: String,
}

impl Inlet {
    pub(super) fn new(
        route: &Route,
        inbound: &Inbound,
        reply_queue: &str,
        outbox: Option<Arc<Outbox>>,
        metrics: &Metrics,
    ) -> Result<Self, NameTooLong> {
        let short = |name: &str| {
            ShortString::try_new(name).map_err(|_| NameTooLong {
                route: route.name.to_string(),
                name: name.to_owned(),
            })
        };
        let named = inbound.reply().and_then(|reply| reply.queue.as_deref());
        Ok(Self {
            name: route.name.clone(),
            exchange: short(&inbound.target.exchange)?,
            reply_to: short(named.unwrap_or(reply_queue))?,
            outbox,
            guard: None,
            limits: Limits::new(inbound.limits),
            metrics: metrics.route(&route.name, Side::Inbound),
            inbound: inbound.clone(),
            last_warning: Mutex::default(),
            unwarned: AtomicU64::new(0),
        })
    }

    /// Whether a message that no queue takes is success here.
    pub(super) fn discards(&self) -> bool {
        self.inbound.target.unroutable == Unroutable::Discard
            && matches!(self.inbound.answer, Answer::Accepted(_))
    }

    /// Whether answers have the caller's own ids in them.
    pub(super) fn gives_ids_back(&self) -> bool {
        self.guard.is_some() || matches!(self.inbound.answer, Answer::Reply(_))
    }

    /// Counts and logs what a publish came to.
    pub(super) fn published(&self, outcome: &Outcome, id: &str, took: Duration) {
        self.metrics.publish_seconds.observe(took.as_secs_f64());
        if *outcome == Outcome::Unroutable && self.discards() {
            self.metrics.published("discarded");
            return;
        }
        self.metrics.published(outcome.label());
        let reason = match outcome {
            Outcome::Routed => return,
            // The broker session logs these where they begin and end.
            Outcome::Unavailable | Outcome::Blocked | Outcome::Overloaded => return,
            Outcome::Refused(reason) => reason.as_str(),
            Outcome::Unroutable | Outcome::Nacked | Outcome::TooLarge | Outcome::Unknown => "",
        };
        if let Some(unwarned) = self.may_warn() {
            tracing::warn!(
                route = %self.name,
                message_id = id,
                exchange = %self.exchange,
                outcome = outcome.label(),
                reason,
                unwarned,
                "publish without success"
            );
        }
    }

    /// How many warnings were left out since the last one; `None` where this one is, too.
    pub(super) fn may_warn(&self) -> Option<u64> {
        let mut last = self
            .last_warning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < QUIET) {
            self.unwarned.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(Instant::now());
        Some(self.unwarned.swap(0, Ordering::Relaxed))
    }
}
