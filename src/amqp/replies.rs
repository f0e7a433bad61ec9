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

/// The calls by what is random in their correlation ids.
#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<u128, Waiting>,
    finished: HashMap<u128, Finished>,
    order: VecDeque<u128>,
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
    key: u128,
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
        let random = uuid::Uuid::new_v4();
        let (key, text) = (random.as_u128(), random.simple());
        let id = ShortString::try_new(format!("{}.{text}", self.0.instance)).ok()?;
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
        table.waiting.insert(key, waiting);
        drop(table);
        Some(Waiter {
            replies: self.clone(),
            id,
            key,
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
        let id = message.properties.correlation_id();
        let Some((instance, key)) = id.as_ref().and_then(|id| id.as_str().rsplit_once('.')) else {
            unknown.inc();
            return Matched::Here;
        };
        if instance != self.0.instance && !instance.is_empty() {
            return Matched::Elsewhere(instance.to_owned(), Box::new(message));
        }
        let key = key_of(key).filter(|_| instance == self.0.instance);
        let mut table = self.table();
        let Some((key, waiting)) = key.and_then(|key| Some((key, table.waiting.remove(&key)?)))
        else {
            match key.and_then(|key| table.finished.get(&key)) {
                Some(finished) => finished.metrics.reply(finished.outcome),
                None => unknown.inc(),
            }
            return Matched::Here;
        };
        waiting.metrics.waiting_replies.dec();
        table.remember(key, waiting.metrics, "repeated");
        drop(table);
        // The waiter counts the match, or that it had gone.
        drop(waiting.reply.send(message));
        Matched::Here
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remember(&mut self, key: u128, metrics: RouteMetrics, outcome: &'static str) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.finished.remove(&oldest);
        }
        self.order.push_back(key);
        self.finished.insert(key, Finished { metrics, outcome });
    }
}

/// From the text that [`Replies::register`] makes of it, and from no other.
fn key_of(text: &str) -> Option<u128> {
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(plain) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
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
        if let Some(waiting) = table.waiting.remove(&self.key) {
            waiting.metrics.waiting_replies.dec();
            table.remember(self.key, waiting.metrics, "late");
        }
        drop(table);
        if !self.settled {
            self.metrics.reply("abandoned");
        }
    }
}

#[cfg(test)]
mod tests {
    /// A call has one correlation id: what merely reads as the same number is not it.
    #[test]
    fn only_the_very_text_of_an_id_is_its_key() {
        let id = uuid::Uuid::from_u128(0x0a1b_2c3d_0000_4e5f_8000_0000_0000_00ff);
        let text = id.simple().to_string();
        assert_eq!(super::key_of(&text), Some(id.as_u128()));
        let others = [
            text.to_uppercase(),
            id.hyphenated().to_string(),
            format!("0{text}"),
            format!("+{}", &text[1..]),
            text[1..].to_owned(),
            format!("{text} "),
            String::new(),
        ];
        for other in others {
            assert_eq!(super::key_of(&other), None, "{other}");
        }
    }
}
