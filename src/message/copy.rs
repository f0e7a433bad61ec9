//! What every copy of a message takes along, whether it waits, is parked or is replayed.
//!
//! What the broker wrote about the message stays behind: RabbitMQ silently drops a dead-lettered
//! message whose `x-death` says that it goes round in a circle. So do the parts that would make
//! the broker act on the copy as on a new message.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{Message, headers, names, reply::shrink};

/// The most bytes of headers a copy may have. A message's properties are one frame, 128 KiB with
/// RabbitMQ's settings, and one too large costs the connection: again and again, as the copy would
/// be published again.
pub const HEADERS_LIMIT: usize = 120 * 1024;
const PERSISTENT: u8 = 2;

/// The headers of `message` that its copy has too: all but the broker's own and the `outdated`.
/// The largest go first where they and `own` bytes of further ones would not fit a frame.
///
/// `CC` moves to a header of Hareway's and `BCC` is left out: by them the copy would be routed to
/// every queue they name once more.
pub fn carried(message: &Message, outdated: &[&str], own: usize) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in message.properties.headers().iter().flatten() {
        let lower = name.as_str().to_ascii_lowercase();
        let gone = headers::is_broker(&lower) || outdated.contains(&name.as_str());
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
    let dropped = shrink(&mut table, HEADERS_LIMIT.saturating_sub(own));
    if dropped > 0 {
        let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
        let dropped = AMQPValue::LongLongInt(dropped);
        insert(&mut table, names::DROPPED_HEADERS, dropped);
    }
    table
}

/// Moves to headers what a waiting copy cannot keep: its own `expiration` would cut its waiting
/// short, and its `user_id` would have the broker refuse it.
pub fn set_aside(table: &mut FieldTable, message: &Message) {
    let moved = [
        (names::EXPIRATION, message.properties.expiration()),
        (names::USER_ID, message.properties.user_id()),
    ];
    for (name, text) in moved {
        if let Some(text) = text {
            insert_text(table, name, text.as_str());
        }
    }
}

/// The properties of a copy with these headers: those of the message, persistent, without what
/// [`set_aside`] moves.
pub fn properties(message: &Message, table: FieldTable) -> BasicProperties {
    let old = &message.properties;
    let mut new = BasicProperties::default()
        .with_headers(table)
        .with_delivery_mode(PERSISTENT);
    if let Some(value) = old.message_id() {
        new = new.with_message_id(value.clone());
    }
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

/// Sets one header; a name over 255 bytes, which none from a message can be, is left out.
pub fn insert(table: &mut FieldTable, name: &str, value: AMQPValue) {
    if let Ok(name) = ShortString::try_new(name) {
        table.insert(name, value);
    }
}

/// Sets one header to a text.
pub fn insert_text(table: &mut FieldTable, name: &str, text: &str) {
    insert(table, name, AMQPValue::LongString(text.into()));
}
