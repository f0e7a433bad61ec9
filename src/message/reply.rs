//! Replies: a backend's response → the properties of the reply, and a reply → the response.

use std::{collections::BTreeMap, time::SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    Forwarded, Message, MessageValues, field, forward,
    headers::Filter,
    names, new_id,
    request::{APP_ID, PERSISTENT, PROPERTIES_LIMIT, collect, overwrite},
    timestamp,
};
use crate::{
    config::model::{HeaderRules, Reply},
    template::{RenderError, Target},
};

/// The head of the response that a reply gives.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Headers of the reply that HTTP cannot carry.
    pub skipped: u64,
}

/// A reply that gives no response: 502 for the caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadReply {
    #[error("the reply's status `{0}` is not a number from 200 to 599")]
    Status(String),
    #[error("the status of the response cannot be told from the reply: {0}")]
    Template(#[from] RenderError),
}

/// The properties of the reply to `request`, and how many headers AMQP could not carry.
///
/// `set` holds the route's rendered headers.
pub fn properties(
    status: StatusCode,
    headers: &HeaderMap,
    rules: &HeaderRules,
    set: &[(HeaderName, String)],
    request: &Message,
) -> (BasicProperties, u64) {
    let filter = Filter::for_http(rules, headers);
    let mut table = FieldTable::default();
    let mut skipped = collect(headers, &filter, &mut table);
    overwrite(set, &mut table);
    if let Ok(name) = ShortString::try_new(names::HTTP_STATUS) {
        table.insert(name, AMQPValue::LongInt(i32::from(status.as_u16())));
    }
    skipped += shrink(&mut table, PROPERTIES_LIMIT);
    let mut properties = BasicProperties::default()
        .with_message_id(new_id())
        .with_timestamp(timestamp(SystemTime::now()))
        .with_app_id(ShortString::try_new(APP_ID).unwrap_or_default())
        .with_delivery_mode(PERSISTENT)
        .with_headers(table);
    // The habit of workers is to answer with the request's message id where it has no other.
    let asked = &request.properties;
    if let Some(id) = asked
        .correlation_id()
        .as_ref()
        .or(asked.message_id().as_ref())
    {
        properties = properties.with_correlation_id(id.clone());
    }
    let mut text = |name: &HeaderName| {
        let set = set.iter().find(|(set, _)| set == name);
        let sent = headers.get(name).filter(|_| filter.allows(name.as_str()));
        let text = match (set, sent) {
            (Some((_, text)), _) => Some(text.as_bytes()),
            (None, sent) => sent.map(|value| value.as_bytes()),
        }?;
        let text = std::str::from_utf8(text)
            .ok()
            .and_then(|text| ShortString::try_new(text).ok());
        skipped += u64::from(text.is_none());
        text
    };
    let (kind, encoding) = (text(&header::CONTENT_TYPE), text(&header::CONTENT_ENCODING));
    if let Some(kind) = kind {
        properties = properties.with_content_type(kind);
    }
    if let Some(encoding) = encoding {
        properties = properties.with_content_encoding(encoding);
    }
    (properties, skipped)
}

/// The head of the response that `message` gives to the caller of a request/reply route.
///
/// Neither the correlation id nor the message id is among its headers: those of the reply are the
/// worker's and Hareway's business, the caller's own are put back by who called.
///
/// # Errors
/// A status that HTTP does not allow for a final response.
pub fn response(message: &Message, reply: &Reply) -> Result<Response, BadReply> {
    let values = MessageValues::new(message);
    let status = match (&reply.status, message.header(names::HTTP_STATUS)) {
        (Some(template), _) => template.render(&values, Target::Text)?,
        (None, Some(value)) => field::plain(value).map_or_else(
            || "(neither a number nor text)".to_owned(),
            |text| text.into_owned(),
        ),
        (None, None) => "200".to_owned(),
    };
    let status = final_status(&status).ok_or(BadReply::Status(status))?;
    let filter = Filter::for_message(&reply.headers, message.properties.headers().as_ref());
    let mut out = Forwarded::default();
    let properties = &message.properties;
    if let Some(text) = properties.content_type() {
        out.property("content-type", text.as_str(), &filter);
    }
    if let Some(text) = properties.content_encoding() {
        out.property("content-encoding", text.as_str(), &filter);
    }
    forward::table(message, &filter, &mut out);
    let mut set = Vec::with_capacity(reply.headers.set.len());
    for (name, template) in &reply.headers.set {
        match template.render(&values, Target::Text) {
            Ok(text) => set.push((name.clone(), text)),
            Err(_) => out.skipped += 1,
        }
    }
    out.set(&set);
    Ok(Response {
        status,
        headers: out.headers,
        skipped: out.skipped,
    })
}

/// Takes the largest entries out of `table` until it is at most `limit` bytes; returns how many.
pub fn shrink(table: &mut FieldTable, limit: usize) -> u64 {
    let mut size = field::table_size(table);
    if size <= limit {
        return 0;
    }
    let mut entries: Vec<(ShortString, AMQPValue)> = table
        .into_iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    entries.sort_by_cached_key(|(_, value)| field::value_size(value));
    let mut dropped = 0;
    while size > limit
        && let Some((name, value)) = entries.pop()
    {
        size -= 1 + name.as_str().len() + field::value_size(&value);
        dropped += 1;
    }
    *table = FieldTable::from(entries.into_iter().collect::<BTreeMap<_, _>>());
    dropped
}

fn final_status(text: &str) -> Option<StatusCode> {
    let code: u16 = text.trim().parse().ok()?;
    (200..=599)
        .contains(&code)
        .then(|| StatusCode::from_u16(code).ok())?
}
