//! An HTTP request's head → the properties of the message it becomes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, header, request::Parts};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString},
};

use super::{field, headers, headers::Filter, names, new_id, timestamp};
use crate::config::model::HeaderRules;

/// The most bytes of properties that a request may come to. A message's properties are one frame
/// (AMQP 0-9-1, 4.2.6.1), 128 KiB at most with RabbitMQ's settings, and one that is larger costs
/// the connection; the rest is left for what retrying and parking add.
pub const PROPERTIES_LIMIT: usize = 64 * 1024;
/// The persistent delivery mode (AMQP 0-9-1, class basic).
pub(super) const PERSISTENT: u8 = 2;
pub(super) const APP_ID: &str = "hareway";
const TRANSIENT: u8 = 1;
const SHORT_STRING_LIMIT: usize = 255;
/// Headers that become properties instead of entries of the table.
pub(super) const AS_PROPERTIES: [&str; 4] = [
    "content-encoding",
    "content-type",
    "correlation-id",
    "message-id",
];
/// Taken for the correlation id where there is no `Correlation-Id`; they stay headers as well.
const CORRELATION_ALIASES: [HeaderName; 2] = [
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-request-id"),
];
const MESSAGE_ID: HeaderName = HeaderName::from_static("message-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("correlation-id");

/// What a route decides about its messages, beside headers.
#[derive(Debug, Clone)]
pub struct RequestOptions<'a> {
    /// Instead of the client's `Message-Id` or a new UUIDv7.
    pub message_id: Option<&'a str>,
    /// The property `type`.
    pub kind: Option<&'a str>,
    pub priority: Option<u8>,
    pub expiration: Option<Duration>,
    pub persistent: bool,
    /// Path parameters that travel with the message, by name, decoded.
    pub path: &'a [(Arc<str>, String)],
}

/// Why a request cannot become a message. All but the last are the client's 400; the last is 431.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadRequest {
    #[error("the header `{0}` is not UTF-8 text")]
    NotText(String),
    #[error("`{name}` is {length} bytes long; the limit is 255")]
    TooLong { name: String, length: usize },
    #[error("the header `{0}` is there more than once")]
    Repeated(String),
    #[error("the name of a header is {0} bytes long; the limit is 255")]
    NameTooLong(usize),
    #[error(
        "the path parameter `{0}` is not percent-encoded UTF-8 text without control characters"
    )]
    PathParameter(String),
    #[error("the path parameter `{0}` has a dot segment")]
    DotSegment(String),
    #[error("the headers come to {0} bytes; the limit is 65536")]
    HeadersTooLarge(usize),
}

impl Default for RequestOptions<'_> {
    fn default() -> Self {
        Self {
            message_id: None,
            kind: None,
            priority: None,
            expiration: None,
            persistent: true,
            path: &[],
        }
    }
}

/// The properties, headers table included. `set` holds the route's rendered headers.
///
/// # Errors
/// A header that AMQP cannot carry, or that has no single meaning.
pub fn properties(
    parts: &Parts,
    rules: &HeaderRules,
    set: &[(HeaderName, String)],
    options: &RequestOptions<'_>,
) -> Result<BasicProperties, BadRequest> {
    let filter = Filter::for_http(rules, &parts.headers);
    let mut properties = BasicProperties::default()
        .with_timestamp(timestamp(SystemTime::now()))
        .with_app_id(short("app_id", APP_ID)?)
        .with_delivery_mode(if options.persistent {
            PERSISTENT
        } else {
            TRANSIENT
        });
    let chosen = |name: &HeaderName| chosen(parts, &filter, set, name);
    let id = match options.message_id {
        Some(id) => Some(short("message_id", id)?),
        None => chosen(&MESSAGE_ID)?,
    };
    properties = properties.with_message_id(id.unwrap_or_else(new_id));
    if let Some(id) = chosen(&CORRELATION_ID)? {
        properties = properties.with_correlation_id(id);
    } else if let Some(id) = correlation_alias(&parts.headers, &filter) {
        properties = properties.with_correlation_id(id);
    }
    if let Some(content_type) = chosen(&header::CONTENT_TYPE)? {
        properties = properties.with_content_type(content_type);
    }
    if let Some(encoding) = encoding(parts, &filter, set)? {
        properties = properties.with_content_encoding(encoding);
    }
    if let Some(kind) = options.kind {
        properties = properties.with_type(short("type", kind)?);
    }
    if let Some(priority) = options.priority {
        properties = properties.with_priority(priority);
    }
    if let Some(expiration) = options.expiration {
        let expiration = expiration.as_millis().to_string();
        properties = properties.with_expiration(short("expiration", &expiration)?);
    }
    let table = table(parts, &filter, set, options)?;
    Ok(properties.with_headers(table))
}

fn table(
    parts: &Parts,
    filter: &Filter<'_>,
    set: &[(HeaderName, String)],
    options: &RequestOptions<'_>,
) -> Result<FieldTable, BadRequest> {
    let long = |name: &&HeaderName| name.as_str().len() > SHORT_STRING_LIMIT;
    if let Some(name) = parts.headers.keys().find(long) {
        return Err(BadRequest::NameTooLong(name.as_str().len()));
    }
    let mut table = FieldTable::default();
    collect(&parts.headers, filter, &mut table);
    overwrite(set, &mut table);
    let mut own = |name: &str, text: &str| -> Result<(), BadRequest> {
        table.insert(short(name, name)?, AMQPValue::LongString(text.into()));
        Ok(())
    };
    own(names::HTTP_METHOD, parts.method.as_str())?;
    own(names::HTTP_PATH, parts.uri.path())?;
    if let Some(query) = parts.uri.query() {
        own(names::HTTP_QUERY, query)?;
    }
    for (name, text) in options.path {
        own(&format!("{}{name}", names::PATH_PREFIX), text)?;
    }
    let size = field::table_size(&table);
    if size > PROPERTIES_LIMIT {
        return Err(BadRequest::HeadersTooLarge(size));
    }
    Ok(table)
}

/// Puts every header that may cross and has no property into `table`; returns how many could not.
pub(super) fn collect(headers: &HeaderMap, filter: &Filter<'_>, table: &mut FieldTable) -> u64 {
    let mut skipped = 0;
    // Where no name is there twice, the value beside it is all there is.
    let single = headers.len() == headers.keys_len();
    let mut last = None;
    for (name, line) in headers {
        let text = name.as_str();
        if last.replace(text) == Some(text) {
            continue;
        }
        if AS_PROPERTIES.contains(&text) || headers::is_reserved(text) || !filter.passes(text) {
            continue;
        }
        let value = match single {
            true => Some(field::read(line.as_bytes())),
            false => joined(headers, name),
        };
        match (ShortString::try_new(text), value) {
            (Ok(key), Some(value)) => {
                table.insert(key, value);
            }
            _ => skipped += 1,
        }
    }
    skipped
}

/// Puts the route's own headers over the others, except those that stand for properties.
pub(super) fn overwrite(set: &[(HeaderName, String)], table: &mut FieldTable) {
    for (name, text) in set {
        let name = name.as_str();
        let elsewhere = AS_PROPERTIES.contains(&name)
            || headers::is_reserved(name)
            || headers::is_hop_by_hop(name);
        if !elsewhere && let Ok(key) = ShortString::try_new(name) {
            table.insert(key, AMQPValue::LongString(text.as_str().into()));
        }
    }
}

/// One value for all lines of a name (RFC 9110 5.3). `Set-Cookie` alone cannot be joined and
/// becomes an array; the parts of a split `Cookie` are joined as RFC 9113 8.2.3 says.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<AMQPValue> {
    let mut lines = headers.get_all(name).iter().map(|line| line.as_bytes());
    let first = lines.next()?;
    let rest: Vec<&[u8]> = lines.collect();
    if rest.is_empty() {
        return Some(field::read(first));
    }
    let all = std::iter::once(first).chain(rest);
    if name == header::SET_COOKIE {
        let lines: Vec<AMQPValue> = all
            .map(|line| AMQPValue::LongString(LongString::from(line)))
            .collect();
        return Some(AMQPValue::FieldArray(FieldArray::from(lines)));
    }
    let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
    let text = all.collect::<Vec<_>>().join(separator);
    Some(AMQPValue::LongString(LongString::from(text)))
}

/// The text for a property: what the route sets, else what the client sent.
fn chosen(
    parts: &Parts,
    filter: &Filter<'_>,
    set: &[(HeaderName, String)],
    name: &HeaderName,
) -> Result<Option<ShortString>, BadRequest> {
    if let Some((_, text)) = set.iter().find(|(set, _)| set == name) {
        return short(name.as_str(), text).map(Some);
    }
    let mut lines = parts.headers.get_all(name).iter();
    let Some(line) = lines.next().filter(|_| filter.allows(name.as_str())) else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(BadRequest::Repeated(name.to_string()));
    }
    let text =
        std::str::from_utf8(line.as_bytes()).map_err(|_| BadRequest::NotText(name.to_string()))?;
    if text.is_empty() {
        return Ok(None);
    }
    short(name.as_str(), text).map(Some)
}

/// `Content-Encoding` is a list: several lines are one (RFC 9110 8.4).
fn encoding(
    parts: &Parts,
    filter: &Filter<'_>,
    set: &[(HeaderName, String)],
) -> Result<Option<ShortString>, BadRequest> {
    let name = header::CONTENT_ENCODING;
    let lines = parts.headers.get_all(&name).iter().count();
    let is_set = set.iter().any(|(set, _)| *set == name);
    if lines < 2 || is_set || !filter.allows(name.as_str()) {
        return chosen(parts, filter, set, &name);
    }
    let Some(AMQPValue::LongString(text)) = joined(&parts.headers, &name) else {
        return Ok(None);
    };
    let text =
        std::str::from_utf8(text.as_bytes()).map_err(|_| BadRequest::NotText(name.to_string()))?;
    short(name.as_str(), text).map(Some)
}

/// An alias that cannot be a correlation id is no error: it is an ordinary header as well.
fn correlation_alias(headers: &HeaderMap, filter: &Filter<'_>) -> Option<ShortString> {
    CORRELATION_ALIASES
        .iter()
        .filter_map(|name| headers.get(name).filter(|_| filter.allows(name.as_str())))
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .filter(|text| !text.is_empty())
        .find_map(|text| ShortString::try_new(text).ok())
}

fn short(name: &str, text: &str) -> Result<ShortString, BadRequest> {
    ShortString::try_new(text).map_err(|_| BadRequest::TooLong {
        name: name.to_owned(),
        length: text.len(),
    })
}
