//! What a message tells of how it came where it is: by Hareway's headers, else by the broker's
//! `x-death`.

use std::time::{Duration, SystemTime};

use lapin::types::{AMQPValue, FieldTable};

use crate::message::{Message, field, names};

/// A parked message's history in short.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub id: Option<String>,
    /// `exhausted`, `rejected`, …; for what the broker dead-lettered its own word, such as
    /// `expired`.
    pub reason: Option<String>,
    /// The backend's last status.
    pub status: Option<u16>,
    pub last_error: Option<String>,
    /// Failed attempts since the message was published or last replayed.
    pub attempts: u32,
    /// Failed attempts before its replays.
    pub earlier_attempts: u32,
    pub replays: u32,
    pub parked_at: Option<SystemTime>,
    pub origin: Origin,
    /// Of the body.
    pub bytes: usize,
}

/// Where a message was before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The queue that it was taken from, or dropped out of.
    pub queue: Option<String>,
    pub exchange: Option<String>,
    pub routing_key: Option<String>,
    pub route: Option<String>,
}

/// The newest entry of `x-death`.
#[derive(Debug, Default)]
struct Death {
    queue: Option<String>,
    reason: Option<String>,
    exchange: Option<String>,
    routing_key: Option<String>,
    count: Option<u32>,
    at: Option<SystemTime>,
}

impl Facts {
    pub fn of(message: &Message) -> Self {
        let own = |name| text(message, name);
        let number = |name| {
            let value = message.header(name).and_then(field::integer);
            value.and_then(|value| u32::try_from(value).ok())
        };
        let parked_at = message.header(names::PARKED_AT).and_then(time);
        let death = Death::of(message).unwrap_or_default();
        // Hareway's word on a message that it parked itself, however that was moved on since;
        // else the newest thing that happened to it is that the broker dead-lettered it.
        let (first, second) = match parked_at {
            Some(_) => (own(names::QUEUE), death.queue),
            None => (death.queue, own(names::QUEUE)),
        };
        let reason = match parked_at {
            Some(_) => own(names::REASON).or(death.reason),
            None => death.reason.or_else(|| own(names::REASON)),
        };
        Self {
            id: message.id().map(str::to_owned),
            reason,
            status: number(names::STATUS).and_then(|status| u16::try_from(status).ok()),
            last_error: own(names::LAST_ERROR),
            attempts: number(names::ATTEMPT).or(death.count).unwrap_or(0),
            earlier_attempts: number(names::EARLIER_ATTEMPTS).unwrap_or(0),
            replays: number(names::REPLAYS).unwrap_or(0),
            parked_at: parked_at.or(death.at),
            origin: Origin {
                queue: first.or(second),
                exchange: own(names::EXCHANGE).or(death.exchange),
                routing_key: own(names::ROUTING_KEY).or(death.routing_key),
                route: own(names::ROUTE),
            },
            bytes: message.body.len(),
        }
    }

    /// How long it has been parked; `None` where nothing says since when.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        Some(now.duration_since(self.parked_at?).unwrap_or_default())
    }
}

impl Death {
    fn of(message: &Message) -> Option<Self> {
        let newest = match message.header("x-death")? {
            AMQPValue::FieldArray(entries) => entries.as_slice().first()?,
            _ => return None,
        };
        let AMQPValue::FieldTable(entry) = newest else {
            return None;
        };
        let get = |name| entry_text(entry, name);
        let routing_key = match entry.inner().get("routing-keys") {
            Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(field::plain),
            _ => None,
        };
        let count = entry.inner().get("count").and_then(field::integer);
        Some(Self {
            queue: get("queue"),
            reason: get("reason"),
            exchange: get("exchange"),
            routing_key: routing_key.map(std::borrow::Cow::into_owned),
            count: count.and_then(|count| u32::try_from(count).ok()),
            at: entry.inner().get("time").and_then(time),
        })
    }
}

fn text(message: &Message, name: &str) -> Option<String> {
    message.header_text(name).map(std::borrow::Cow::into_owned)
}

fn entry_text(entry: &FieldTable, name: &str) -> Option<String> {
    let value = entry.inner().get(name)?;
    field::plain(value).map(std::borrow::Cow::into_owned)
}

/// AMQP timestamps are seconds since the Unix epoch.
fn time(value: &AMQPValue) -> Option<SystemTime> {
    let seconds = u64::try_from(field::integer(value)?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
