//! Calls that wait for a reply: the table of waiters, keyed by unguessable correlation ids.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lapin::types::ShortString;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{message::Message, telemetry::RouteMetrics};

/// How many finished calls are remembered, to tell late and repeated replies from unknown ones.
const REMEMBERED: usize = 65_536;

/// The table of waiting calls; clones share it.
#[derive(Debug, Clone)]
pub struct Replies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    instance: String,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<String, Waiting>,
    finished: HashMap<String, Finished>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Message>,
    metrics: RouteMetrics,
}

/// A call that waits no more, and what a reply to it is from now on.
#[derive(Debug)]
struct Finished {
    metrics: RouteMetrics,
    /// `repeated` or `late`.
    outcome: &'static str,
}

/// One waiting call. Dropping it takes it out of the table.
#[derive(Debug)]
pub struct Waiter {
    replies: Replies,
    id: ShortString,
    reply: oneshot::Receiver<Message>,
    metrics: RouteMetrics,
    settled: bool,
}

/// What a reply turned out to be.
#[derive(Debug)]
pub(super) enum Matched {
    /// Handed to its waiter, or too late, repeated or unknown; counted in any case.
    Here,
    /// It belongs to the process of this name.
    Elsewhere(String, Box<Message>),
}

// === impl Replies ===

impl Replies {
    pub fn new(instance: &str) -> Self {
        let table = Mutex::new(Table::default());
        Self(Arc::new(Shared {
            instance: instance.to_owned(),
            table,
        }))
    }

    /// Puts a call into the table under a new correlation id.
    ///
    /// `None` where the route has `limit` calls waiting already.
    pub fn register(&self, metrics: &RouteMetrics, limit: usize) -> Option<Waiter> {
        // 122 random bits from the operating system: another caller cannot guess them.
        let random = uuid::Uuid::new_v4().simple();
        let id = ShortString::try_new(format!("{}.{random}", self.0.instance)).ok()?;
        let (sender, reply) = oneshot::channel();
        let mut table = self.table();
        if metrics.waiting_replies.get() >= i64::try_from(limit).unwrap_or(i64::MAX) {
            return None;
        }
        metrics.waiting_replies.inc();
        let waiting = Waiting {
            reply: sender,
            metrics: metrics.clone(),
        };
        table.waiting.insert(id.as_str().to_owned(), waiting);
        drop(table);
        Some(Waiter {
            replies: self.clone(),
            id,
            reply,
            metrics: metrics.clone(),
            settled: false,
        })
    }

    /// How many calls wait, over all routes.
    pub fn waiting(&self) -> usize {
        self.table().waiting.len()
    }

    /// Finds the waiter that `message` answers.
    pub(super) fn dispatch(&self, message: Message, unknown: &prometheus::IntCounter) -> Matched {
        let id = message
            .properties
            .correlation_id()
            .as_ref()
            .map(|id| id.as_str().to_owned());
        let Some(id) = id else {
            unknown.inc();
            return Matched::Here;
        };
        let mut table = self.table();
        if let Some(waiting) = table.waiting.remove(&id) {
            waiting.metrics.waiting_replies.dec();
            table.remember(id, waiting.metrics.clone(), "repeated");
            drop(table);
            // The waiter counts the match, or that it had gone.
            drop(waiting.reply.send(message));
            return Matched::Here;
        }
        if let Some(finished) = table.finished.get(&id) {
            finished.metrics.reply(finished.outcome);
            return Matched::Here;
        }
        drop(table);
        match id.rsplit_once('.') {
            Some((instance, _)) if instance != self.0.instance && !instance.is_empty() => {
                Matched::Elsewhere(instance.to_owned(), Box::new(message))
            }
            _ => {
                unknown.inc();
                Matched::Here
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remember(&mut self, id: String, metrics: RouteMetrics, outcome: &'static str) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.finished.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.finished.insert(id, Finished { metrics, outcome });
    }
}

// === impl Waiter ===

impl Waiter {
    /// The correlation id to put on the wire.
    pub fn id(&self) -> &ShortString {
        &self.id
    }

    /// Waits for the reply until `deadline`; `None` when it did not come. Cancel safe; once it has
    /// returned it must not be called again.
    pub async fn wait(&mut self, deadline: Instant) -> Option<Message> {
        let reply = timeout_at(deadline, &mut self.reply).await;
        self.settled = true;
        let reply = match reply {
            Ok(Ok(reply)) => Some(reply),
            // The reply may have been handed over between the deadline and here.
            Ok(Err(_)) | Err(_) => self.reply.try_recv().ok(),
        };
        self.metrics.reply(if reply.is_some() {
            "matched"
        } else {
            "timeout"
        });
        reply
    }

    /// Takes the call out of the table without counting it as abandoned: its request was refused.
    pub fn withdraw(mut self) {
        self.settled = true;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut table = self.replies.table();
        if let Some(waiting) = table.waiting.remove(self.id.as_str()) {
            waiting.metrics.waiting_replies.dec();
            table.remember(self.id.as_str().to_owned(), waiting.metrics, "late");
        }
        drop(table);
        if !self.settled {
            self.metrics.reply("abandoned");
        }
    }
}
