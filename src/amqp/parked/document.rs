//! Parked messages as JSON, the same for the command line and the admin listener.

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::STANDARD};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

use super::Facts;
use crate::message::{Message, field};

/// A parked message in short.
pub fn entry(queue: &str, facts: &Facts) -> Value {
    let origin = &facts.origin;
    json!({
        "id": facts.id,
        "queue": queue,
        "reason": facts.reason,
        "status": facts.status,
        "last_error": facts.last_error,
        "attempts": facts.attempts,
        "earlier_attempts": facts.earlier_attempts,
        "replays": facts.replays,
        "parked_at": facts.parked_at.map(rfc3339),
        "bytes": facts.bytes,
        "origin": {
            "queue": origin.queue,
            "exchange": origin.exchange,
            "routing_key": origin.routing_key,
            "route": origin.route,
        },
    })
}

/// A parked message whole: [`entry`] with `properties`, `headers` and `body`, or `body_base64`
/// where that is no text.
pub fn whole(queue: &str, message: &Message, facts: &Facts) -> Value {
    let mut document = entry(queue, facts);
    if let Some(members) = document.as_object_mut() {
        members.insert("properties".to_owned(), properties(message).into());
        let headers = message.properties.headers().as_ref();
        members.insert("headers".to_owned(), headers.map_or(json!({}), table));
        match std::str::from_utf8(&message.body) {
            Ok(text) => members.insert("body".to_owned(), text.into()),
            Err(_) => {
                let coded = STANDARD.encode(&message.body);
                members.insert("body_base64".to_owned(), coded.into())
            }
        };
    }
    document
}

/// The basic properties that are set, by their names in AMQP 0-9-1, with exchange and routing key
/// of the publish that brought the message into its queue.
pub fn properties(message: &Message) -> Map<String, Value> {
    let properties = &message.properties;
    let texts = [
        ("message_id", properties.message_id()),
        ("correlation_id", properties.correlation_id()),
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("reply_to", properties.reply_to()),
        ("type", properties.kind()),
        ("app_id", properties.app_id()),
        ("user_id", properties.user_id()),
        ("expiration", properties.expiration()),
        ("cluster_id", properties.cluster_id()),
    ];
    let mut members = Map::new();
    members.insert("exchange".to_owned(), message.exchange.as_str().into());
    members.insert(
        "routing_key".to_owned(),
        message.routing_key.as_str().into(),
    );
    for (name, text) in texts {
        if let Some(text) = text {
            members.insert(name.to_owned(), text.as_str().into());
        }
    }
    let small = [
        ("delivery_mode", properties.delivery_mode()),
        ("priority", properties.priority()),
    ];
    for (name, number) in small {
        if let Some(number) = *number {
            members.insert(name.to_owned(), number.into());
        }
    }
    if let Some(seconds) = *properties.timestamp() {
        members.insert("timestamp".to_owned(), seconds.into());
    }
    members
}

/// As people and machines write it, in UTC.
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn table(table: &FieldTable) -> Value {
    let entries = table.into_iter();
    let members = entries.map(|(name, entry)| (name.as_str().to_owned(), value(entry)));
    Value::Object(members.collect())
}

/// What JSON has a word for as that, all else in the text form of `docs/mapping.md`.
fn value(entry: &AMQPValue) -> Value {
    match entry {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(value).collect(),
        AMQPValue::FieldTable(entries) => table(entries),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => text.into(),
            Err(_) => form(entry),
        },
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::Float(number) => json!(number),
        AMQPValue::Double(number) => json!(number),
        other => match field::integer(other).and_then(|number| i64::try_from(number).ok()) {
            Some(number) => number.into(),
            None => form(other),
        },
    }
}

fn form(value: &AMQPValue) -> Value {
    field::write(value).map_or(Value::Null, |text| {
        String::from_utf8_lossy(&text).into_owned().into()
    })
}
