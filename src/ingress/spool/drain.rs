//! What empties a spool: one task for each, in the order of the line.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use lapin::types::ShortString;
use tokio::{
    sync::{Notify, RwLock},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    Outbox,
    plan::{EXPIRED, Plan, REASONS, plan},
};
use crate::{
    amqp::{Gate, Outcome, Publisher},
    buffer::Buffer,
    config::model::{self, Inbound, Unroutable},
    policy::Backoff,
    store::{Entry, Refused, Spool, Usage},
    telemetry::RouteMetrics,
};

/// The most messages that are published at once.
const BATCH_MAX: usize = 256;
/// About how many bytes of bodies are read at once.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// A line that so many batches empty is emptied while newcomers wait: batches of messages, and of
/// bytes.
const LAST_BATCHES: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the line is looked at without being told of news: messages that were set apart may
/// have been returned to it, and others may have grown too old.
const GLANCE: Duration = Duration::from_secs(1);

/// The default of `confirm_timeout`.
const LEFTOVER_CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes what waits in one route's spool.
#[derive(Debug)]
pub struct Drain {
    route: Arc<str>,
    spool: Spool,
    news: Arc<Notify>,
    way: Arc<RwLock<()>>,
    publisher: Publisher,
    buffer: Buffer,
    metrics: RouteMetrics,
    settings: Settings,
    /// From 1 to [`BATCH_MAX`]: 1 after trouble, so that what the broker refuses is overtaken by
    /// nothing, and twice as many after each success.
    batch: usize,
    backoff: Backoff,
    /// Messages that have left the line since it was last empty.
    moved: u64,
}

/// What a route says about its messages.
#[derive(Debug, Clone)]
pub(in crate::ingress) struct Settings {
    pub(in crate::ingress) confirm_timeout: Duration,
    pub(in crate::ingress) max_age: Option<Duration>,
    pub(in crate::ingress) discards: bool,
}

/// What there is to do.
enum Work {
    /// In line for too long.
    SetApart(Vec<u64>),
    Publish(Vec<Entry>),
}

/// A message that has been handed to the publisher.
struct Named {
    key: u64,
    id: ShortString,
    exchange: ShortString,
    routing_key: ShortString,
}

impl Settings {
    /// Nothing is added to what a former route has left.
    pub(in crate::ingress) const LEFTOVER_SPOOL: model::Spool = model::Spool {
        max_bytes: u64::MAX,
        max_age: None,
    };

    /// For what a former route has left: what is known of it stands in its messages.
    pub(in crate::ingress) fn leftover() -> Self {
        Self {
            confirm_timeout: LEFTOVER_CONFIRM_TIMEOUT,
            max_age: None,
            discards: false,
        }
    }

    pub(in crate::ingress) fn of(inbound: &Inbound) -> Self {
        Self {
            confirm_timeout: inbound.target.confirm_timeout,
            max_age: inbound.spool.as_ref().and_then(|spool| spool.max_age),
            discards: inbound.target.unroutable == Unroutable::Discard,
        }
    }
}

// === impl Drain ===

impl Drain {
    pub(in crate::ingress) fn new(
        route: &Arc<str>,
        outbox: &Outbox,
        settings: Settings,
        publisher: Publisher,
        metrics: RouteMetrics,
        buffer: Buffer,
    ) -> Self {
        Self {
            route: route.clone(),
            spool: outbox.spool.clone(),
            news: outbox.news.clone(),
            way: outbox.way.clone(),
            publisher,
            buffer,
            metrics,
            settings,
            batch: 1,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            moved: 0,
        }
    }

    /// The name of the route that the messages came by.
    pub(in crate::ingress) fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// Until `stop`. A batch that has been published is followed to its end and taken out of the
    /// line: otherwise the next process would publish it again.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let work = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                work = self.next() => work,
            };
            let well = match work {
                Work::SetApart(keys) => self.expire(keys, &stop).await,
                Work::Publish(entries) => self.advance(entries, &stop).await,
            };
            if well {
                self.backoff.reset();
                self.tell_when_empty();
            } else {
                self.pause(&stop).await;
            }
        }
    }

    /// Waits for work. Cancel safe.
    async fn next(&mut self) -> Work {
        loop {
            if self.spool.is_empty() {
                tokio::select! {
                    () = self.news.notified() => {}
                    () = sleep(GLANCE) => {}
                }
                continue;
            }
            let open = self.publisher.gate() == Gate::Open;
            if !open && !self.is_too_old(self.spool.usage().oldest) {
                tokio::select! {
                    () = self.publisher.opened() => {}
                    () = sleep(GLANCE) => {}
                }
                continue;
            }
            let most = if open { self.batch } else { BATCH_MAX };
            let Ok(entries) = self.spool.first(most, BATCH_BYTES).await else {
                // The store says in the log what is wrong with it.
                sleep(self.backoff.next_pause()).await;
                continue;
            };
            let old = |entry: &&Entry| self.is_too_old(Some(entry.stored_at));
            let old: Vec<u64> = entries.iter().filter(old).map(|entry| entry.key).collect();
            if !old.is_empty() {
                return Work::SetApart(old);
            }
            if open && !entries.is_empty() {
                return Work::Publish(entries);
            }
            sleep(GLANCE).await;
        }
    }

    fn is_too_old(&self, stored_at: Option<SystemTime>) -> bool {
        let (Some(limit), Some(stored_at)) = (self.settings.max_age, stored_at) else {
            return false;
        };
        stored_at.elapsed().is_ok_and(|age| age > limit)
    }

    /// Returns whether all went well.
    async fn expire(&mut self, keys: Vec<u64>, stop: &CancellationToken) -> bool {
        tracing::warn!(
            route = %self.route,
            messages = keys.len(),
            max_age = ?self.settings.max_age,
            "spooled messages are too old and were set apart"
        );
        let apart = keys.into_iter().map(|key| (key, EXPIRED)).collect();
        let plan = Plan {
            apart,
            ..Plan::default()
        };
        self.settle(plan, stop).await
    }

    /// Publishes a batch, and where little is left all of the line.
    async fn advance(&mut self, entries: Vec<Entry>, stop: &CancellationToken) -> bool {
        // Only after a success: callers need not wait for a broker that does not answer.
        if self.batch == 1 || !is_little(&self.spool.usage(), self.batch) {
            return self.publish(entries, stop).await;
        }
        // Whoever is appending gets to the end of it; from then on newcomers wait for this guard.
        let _closed = self.way.clone().write_owned().await;
        let mut entries = entries;
        // What was appended before the way was closed may be as much again.
        for _ in 0..2 * LAST_BATCHES {
            if !self.publish(entries, stop).await {
                return false;
            }
            if self.spool.is_empty() || stop.is_cancelled() {
                break;
            }
            entries = match self.spool.first(self.batch, BATCH_BYTES).await {
                Ok(next) if self.is_fresh(&next) => next,
                _ => break,
            };
        }
        true
    }

    /// Whether there are any, and none has waited for too long.
    fn is_fresh(&self, entries: &[Entry]) -> bool {
        let old = |entry: &Entry| self.is_too_old(Some(entry.stored_at));
        !entries.is_empty() && !entries.iter().any(old)
    }

    /// Returns whether the whole batch has left the line.
    async fn publish(&mut self, entries: Vec<Entry>, stop: &CancellationToken) -> bool {
        let bytes = entries.iter().map(|entry| entry.publish.body.len() as u64);
        let _held = self.buffer.hold(bytes.sum());
        let mut names = Vec::with_capacity(entries.len());
        let mut batch = Vec::with_capacity(entries.len());
        for entry in entries {
            names.push(Named::of(&entry));
            batch.push(entry.publish);
        }
        let timeout = self.settings.confirm_timeout;
        let outcomes = self.publisher.publish_in_order(batch, timeout).await;
        for (named, outcome) in names.iter().zip(&outcomes) {
            self.count(named, outcome);
        }
        let keys = names.iter().map(|named| named.key);
        let plan = plan(keys.zip(&outcomes), self.settings.discards);
        let stopped_by = plan.stopped_by.clone();
        self.batch = match &stopped_by {
            None => (self.batch * 2).min(BATCH_MAX),
            // There was no trouble, only no room at this moment.
            Some(Outcome::Overloaded) => self.batch,
            Some(_) => 1,
        };
        if let Some(outcome) = &stopped_by {
            tracing::debug!(route = %self.route, outcome = outcome.label(), "the spool's line is stopped");
        }
        let settled = self.settle(plan, stop).await;
        if stopped_by == Some(Outcome::Overloaded) {
            self.backoff.reset();
        }
        settled && stopped_by.is_none()
    }

    fn count(&self, named: &Named, outcome: &Outcome) {
        if *outcome == Outcome::Unroutable && self.settings.discards {
            self.metrics.published("discarded");
            return;
        }
        self.metrics.published(outcome.label());
        let reason = match outcome {
            Outcome::Refused(reason) => reason.as_str(),
            Outcome::Unroutable | Outcome::TooLarge => "",
            _ => return,
        };
        tracing::warn!(
            route = %self.route,
            message_id = named.id.as_str(),
            exchange = named.exchange.as_str(),
            routing_key = named.routing_key.as_str(),
            outcome = outcome.label(),
            reason,
            "the broker does not take a spooled message; it is set apart"
        );
    }

    /// Does what the plan says, however long the store takes: until then a confirmed message is
    /// published no second time. Returns whether it was done before `stop`.
    async fn settle(&mut self, plan: Plan, stop: &CancellationToken) -> bool {
        let count = plan.remove.len() + plan.apart.len();
        while let Err(error) = self.try_settle(&plan).await {
            if stop.is_cancelled() {
                tracing::warn!(
                    route = %self.route, messages = count, %error,
                    "published messages could not be taken out of the spool and will be published again"
                );
                return false;
            }
            self.pause(stop).await;
        }
        self.moved += count as u64;
        true
    }

    async fn try_settle(&self, plan: &Plan) -> Result<(), Refused> {
        if !plan.remove.is_empty() {
            self.spool.remove(plan.remove.clone()).await?;
        }
        for reason in REASONS {
            let apart = plan.apart.iter().filter(|(_, why)| *why == reason);
            let keys: Vec<u64> = apart.map(|(key, _)| *key).collect();
            if !keys.is_empty() {
                self.spool.set_apart(keys, reason).await?;
            }
        }
        Ok(())
    }

    async fn pause(&mut self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(self.backoff.next_pause()) => {}
        }
    }

    fn tell_when_empty(&mut self) {
        if self.spool.is_empty() {
            tracing::info!(route = %self.route, messages = self.moved, "the spool is empty again");
            self.moved = 0;
            self.batch = 1;
        }
    }
}

/// Whether batches of so many messages soon empty the line.
fn is_little(left: &Usage, batch: usize) -> bool {
    let few = (batch * LAST_BATCHES) as u64;
    left.messages <= few && left.bytes <= LAST_BATCHES as u64 * BATCH_BYTES
}

impl Named {
    fn of(entry: &Entry) -> Self {
        let publish = &entry.publish;
        Self {
            key: entry.key,
            id: publish.properties.message_id().clone().unwrap_or_default(),
            exchange: publish.exchange.clone(),
            routing_key: publish.routing_key.clone(),
        }
    }
}
