//! The copy of a message that waits in a retry queue or is parked.
//!
//! It carries its own history in `hareway-*` headers.

use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::outcome::Reason;
use crate::message::{
    Message, Publish,
    copy::{self, insert, insert_text},
    names, timestamp,
};

/// More than Hareway's own headers can come to, but for an error's text: six names of up to 255
/// bytes among them.
const OWN_SIZE: usize = 4096;
/// The most bytes of an error's text.
const ERROR_LIMIT: usize = 512;

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
pub(super) fn publish(
    message: &Message,
    id: &ShortString,
    to: ShortString,
    history: &History<'_>,
) -> Publish {
    Publish {
        exchange: ShortString::default(),
        routing_key: to,
        properties: copy::properties(message, table(message, history)).with_message_id(id.clone()),
        body: Bytes::clone(&message.body),
    }
}

/// The publish that puts `message` back into its own queue, at the end, as it is: nothing has been
/// tried, so its history stays as it was, but for where it came from.
pub(super) fn returned(message: &Message, id: &ShortString, queue: ShortString) -> Publish {
    let mut table = copy::carried(message, &[], OWN_SIZE);
    copy::set_aside(&mut table, message);
    let origin = [
        (names::EXCHANGE, message.origin_exchange()),
        (names::ROUTING_KEY, message.origin_routing_key()),
    ];
    for (name, text) in origin {
        insert_text(&mut table, name, &text);
    }
    Publish {
        exchange: ShortString::default(),
        routing_key: queue,
        properties: copy::properties(message, table).with_message_id(id.clone()),
        body: Bytes::clone(&message.body),
    }
}

fn table(message: &Message, history: &History<'_>) -> FieldTable {
    let mut table = copy::carried(message, &OUTDATED, own_size(history));
    copy::set_aside(&mut table, message);
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
    insert_text(table, names::LAST_ERROR, error);
    let texts = [
        (names::EXCHANGE, message.origin_exchange()),
        (names::ROUTING_KEY, message.origin_routing_key()),
        (names::QUEUE, history.queue.into()),
        (names::ROUTE, history.route.into()),
    ];
    for (name, text) in texts {
        insert_text(table, name, &text);
    }
    if let Some(status) = history.status {
        insert(
            table,
            names::STATUS,
            AMQPValue::LongInt(status.as_u16().into()),
        );
    }
    if let Some((reason, at)) = history.parked {
        insert_text(table, names::REASON, reason.as_str());
        insert(table, names::PARKED_AT, AMQPValue::Timestamp(timestamp(at)));
    }
}

fn own_size(history: &History<'_>) -> usize {
    OWN_SIZE + history.error.len().min(ERROR_LIMIT)
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
