//! Where a replayed message goes, and what it takes along.

use std::time::SystemTime;

use bytes::Bytes;
use lapin::types::{AMQPValue, ShortString};

use super::{Facts, look::short};
use crate::message::{
    Message, Publish,
    copy::{self, insert, insert_text},
    names, timestamp,
};

/// More than the headers that are added can come to: four names of up to 255 bytes among them.
const OWN: usize = 4096;

/// Where replayed messages go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Destination {
    /// The queue that each came from. Not its exchange: other queues that are bound to that have
    /// had the message already.
    #[default]
    Origin,
    Queue(String),
    Exchange {
        name: String,
        /// `None`: the routing key with which each was published first.
        routing_key: Option<String>,
    },
}

/// Why a message has no place to go.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoWay {
    #[error("it does not say which queue it came from; name one")]
    NoOrigin,
    #[error("it would go back to the queue that it is in")]
    Itself,
    #[error("a name or routing key over 255 bytes")]
    TooLong,
}

/// An exchange and a routing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub exchange: ShortString,
    pub routing_key: ShortString,
}

impl Destination {
    /// The way of one message that is in `queue`.
    ///
    /// # Errors
    /// There is none.
    pub fn way(&self, message: &Message, facts: &Facts, queue: &str) -> Result<Way, NoWay> {
        let (exchange, key) = match self {
            Self::Origin => ("", facts.origin.queue.as_deref().ok_or(NoWay::NoOrigin)?),
            Self::Queue(name) => ("", name.as_str()),
            Self::Exchange { name, routing_key } => {
                let first = facts.origin.routing_key.as_deref();
                let key = routing_key.as_deref().or(first);
                (name.as_str(), key.unwrap_or(message.routing_key.as_str()))
            }
        };
        if exchange.is_empty() && key == queue {
            return Err(NoWay::Itself);
        }
        Ok(Way {
            exchange: short(exchange).map_err(|_| NoWay::TooLong)?,
            routing_key: short(key).map_err(|_| NoWay::TooLong)?,
        })
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.exchange.as_str() {
            "" => write!(f, "queue `{}`", self.routing_key),
            name => write!(f, "exchange `{name}`, routing key `{}`", self.routing_key),
        }
    }
}

/// The copy that is replayed: its attempts start anew, and its history stays in its headers.
pub(super) fn replayed(message: &Message, facts: &Facts, way: Way, now: SystemTime) -> Publish {
    let outdated = [
        names::ATTEMPT,
        names::FIRST_FAILED_AT,
        names::PARKED_AT,
        names::RENEWED,
    ];
    let mut table = copy::carried(message, &outdated, OWN);
    copy::set_aside(&mut table, message);
    origin(&mut table, facts);
    let number = |value: u32| AMQPValue::LongLongInt(value.into());
    let attempts = facts.earlier_attempts.saturating_add(facts.attempts);
    insert(&mut table, names::EARLIER_ATTEMPTS, number(attempts));
    let replays = facts.replays.saturating_add(1);
    insert(&mut table, names::REPLAYS, number(replays));
    let at = AMQPValue::Timestamp(timestamp(now));
    insert(&mut table, names::REPLAYED_AT, at);
    Publish {
        exchange: way.exchange,
        routing_key: way.routing_key,
        properties: copy::properties(message, table),
        body: Bytes::clone(&message.body),
    }
}

/// The copy that takes its message's place in the same queue: the same in everything but what the
/// broker wrote, of which Hareway's own headers keep the gist. `look` names who did it.
pub(super) fn renewed(message: &Message, facts: &Facts, queue: ShortString, look: &str) -> Publish {
    let mut table = copy::carried(message, &[], OWN);
    if let Some(user) = message.properties.user_id() {
        insert_text(&mut table, names::USER_ID, user.as_str());
    }
    origin(&mut table, facts);
    if let Some(at) = facts.parked_at {
        let at = AMQPValue::Timestamp(timestamp(at));
        insert(&mut table, names::PARKED_AT, at);
        let attempts = AMQPValue::LongLongInt(facts.attempts.into());
        insert(&mut table, names::ATTEMPT, attempts);
    }
    insert_text(&mut table, names::RENEWED, look);
    let mut properties = copy::properties(message, table);
    if let Some(mode) = message.properties.delivery_mode() {
        properties = properties.with_delivery_mode(*mode);
    }
    if let Some(expiration) = message.properties.expiration() {
        properties = properties.with_expiration(expiration.clone());
    }
    Publish {
        exchange: ShortString::default(),
        routing_key: queue,
        properties,
        body: Bytes::clone(&message.body),
    }
}

/// Hareway's headers for what only `x-death` has told so far.
fn origin(table: &mut lapin::types::FieldTable, facts: &Facts) {
    let origin = &facts.origin;
    let told = [
        (names::QUEUE, &origin.queue),
        (names::EXCHANGE, &origin.exchange),
        (names::ROUTING_KEY, &origin.routing_key),
        (names::REASON, &facts.reason),
    ];
    for (name, text) in told {
        if let Some(text) = text {
            insert_text(table, name, text);
        }
    }
}
