//! The copy of a message that waits in a retry queue or is parked.
//!
//! It carries its own history in `hareway-*` headers. What the broker wrote about the message stays
//! behind: RabbitMQ silently drops a dead-lettered message whose `x-death` says that it goes round
//! in a circle. So do the parts that would make the broker act on the copy as on a new message.

use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::outcome::Reason;
use crate::message::{Message, Publish, headers, names, reply::shrink, timestamp};

/// The most bytes of headers a copy may have. A message's properties are one frame, 128 KiB with
/// RabbitMQ's settings, and one too large costs the connection: again and again, as the copy would
/// be published again.
const HEADERS_LIMIT: usize = 120 * 1024;
/// The most bytes of an error's text.
const ERROR_LIMIT: usize = 512;
const PERSISTENT: u8 = 2;

/// What has happened to a message so far.
#[derive(Debug)]
pub(super) struct History<'a> {
    pub(super) route: &'a str,
    /// The route's work queue.
    pub(super) queue: &'a str,
    /// Attempts made.
    pub(super) attempts: u32,
    pub(super) first_failed_at: SystemTime,
    pub(super) error: &'a str,
    pub(super) status: Option<StatusCode>,
    /// Why and when it was parked.
    pub(super) parked: Option<(Reason, SystemTime)>,
}

/// The publish that puts a copy of `message` into the queue `to`, by the default exchange.
///
/// The message's own `expiration` must not cut its waiting short and its `user_id` would have the
/// broker refuse the copy, so both move to headers; so do `CC` and `BCC`, by which the copy would
/// be routed to every queue they name once more.
pub(super) fn publish(
    message: &Message,
    id: &ShortString,
    to: ShortString,
    history: &History<'_>,
) -> Publish {
    Publish {
        exchange: ShortString::default(),
        routing_key: to,
        properties: properties(message, id, table(message, history)),
        body: Bytes::clone(&message.body),
    }
}

fn table(message: &Message, history: &History<'_>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in message.properties.headers().iter().flatten() {
        let lower = name.as_str().to_ascii_lowercase();
        let gone = headers::is_broker(&lower) || OUTDATED.contains(&name.as_str());
        let kept_as = match name.as_str() {
            "CC" => Some(names::CC),
            "BCC" => None,
            _ if gone => None,
            other => Some(other),
        };
        if let Some(name) = kept_as {
            insert(&mut table, name, value.clone());
        }
    }
    let room = HEADERS_LIMIT.saturating_sub(own_size(history));
    let dropped = shrink(&mut table, room);
    if dropped > 0 {
        let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
        insert(
            &mut table,
            names::DROPPED_HEADERS,
            AMQPValue::LongLongInt(dropped),
        );
    }
    write(&mut table, message, history);
    table
}

/// What an earlier attempt wrote and this one may have no value for.
const OUTDATED: [&str; 3] = [names::STATUS, names::REASON, names::PARKED_AT];

fn write(table: &mut FieldTable, message: &Message, history: &History<'_>) {
    let error = shortened(history.error, ERROR_LIMIT);
    insert(
        table,
        names::ATTEMPT,
        AMQPValue::LongLongInt(history.attempts.into()),
    );
    let first = timestamp(history.first_failed_at);
    insert(table, names::FIRST_FAILED_AT, AMQPValue::Timestamp(first));
    insert(
        table,
        names::LAST_ERROR,
        AMQPValue::LongString(error.into()),
    );
    let texts = [
        (names::EXCHANGE, message.origin_exchange()),
        (names::ROUTING_KEY, message.origin_routing_key()),
        (names::QUEUE, history.queue.into()),
        (names::ROUTE, history.route.into()),
    ];
    for (name, text) in texts {
        insert(table, name, AMQPValue::LongString(text.as_ref().into()));
    }
    let moved = [
        (names::EXPIRATION, message.properties.expiration()),
        (names::USER_ID, message.properties.user_id()),
    ];
    for (name, text) in moved {
        if let Some(text) = text {
            insert(table, name, AMQPValue::LongString(text.as_str().into()));
        }
    }
    if let Some(status) = history.status {
        insert(
            table,
            names::STATUS,
            AMQPValue::LongInt(status.as_u16().into()),
        );
    }
    if let Some((reason, at)) = history.parked {
        insert(
            table,
            names::REASON,
            AMQPValue::LongString(reason.as_str().into()),
        );
        insert(table, names::PARKED_AT, AMQPValue::Timestamp(timestamp(at)));
    }
}

/// More than Hareway's own headers can come to: six names of up to 255 bytes among them.
fn own_size(history: &History<'_>) -> usize {
    4096 + history.error.len().min(ERROR_LIMIT)
}

fn properties(message: &Message, id: &ShortString, table: FieldTable) -> BasicProperties {
    let old = &message.properties;
    let mut new = BasicProperties::default()
        .with_headers(table)
        .with_message_id(id.clone())
        .with_delivery_mode(PERSISTENT);
    if let Some(value) = old.content_type() {
        new = new.with_content_type(value.clone());
    }
    if let Some(value) = old.content_encoding() {
        new = new.with_content_encoding(value.clone());
    }
    if let Some(value) = old.priority() {
        new = new.with_priority(*value);
    }
    if let Some(value) = old.correlation_id() {
        new = new.with_correlation_id(value.clone());
    }
    if let Some(value) = old.reply_to() {
        new = new.with_reply_to(value.clone());
    }
    if let Some(value) = old.timestamp() {
        new = new.with_timestamp(*value);
    }
    if let Some(value) = old.kind() {
        new = new.with_type(value.clone());
    }
    if let Some(value) = old.app_id() {
        new = new.with_app_id(value.clone());
    }
    if let Some(value) = old.cluster_id() {
        new = new.with_cluster_id(value.clone());
    }
    new
}

fn insert(table: &mut FieldTable, name: &str, value: AMQPValue) {
    // Names from the table itself and our own are never longer than 255 bytes.
    if let Ok(name) = ShortString::try_new(name) {
        table.insert(name, value);
    }
}

fn shortened(text: &str, limit: usize) -> &str {
    let ends = text
        .char_indices()
        .map(|(start, letter)| start + letter.len_utf8());
    let end = ends.take_while(|end| *end <= limit).last().unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
