//! What requests and messages offer to templates.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::request::Parts;
use lapin::{BasicProperties, types::AMQPValue};
use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use super::{BadRequest, Message, field, names};
use crate::template::{Property, Source, Values};

/// A request's values: path parameters, query, headers, and the body as JSON where it is asked.
#[derive(Debug)]
pub struct RequestValues<'a> {
    parts: &'a Parts,
    path: &'a [(Arc<str>, String)],
    body: Body<'a>,
}

/// A message's values: properties, headers, routing key, and the body as JSON where it is asked.
#[derive(Debug)]
pub struct MessageValues<'a> {
    message: &'a Message,
    body: Body<'a>,
}

/// A body that is parsed once, when something asks for it.
#[derive(Debug)]
struct Body<'a> {
    bytes: &'a Bytes,
    json: OnceLock<Option<Json>>,
}

/// The path parameters by name, decoded, from what the router matched in the same order.
///
/// # Errors
/// Text that is not percent-encoded UTF-8, has control characters, or holds a dot segment: a
/// backend might climb its path by it.
pub fn path_parameters<'a>(
    names: &[Arc<str>],
    matched: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<(Arc<str>, String)>, BadRequest> {
    let decode = |(name, raw): (&Arc<str>, &str)| {
        let text = percent_decode_str(raw)
            .decode_utf8()
            .ok()
            .filter(|text| !text.chars().any(char::is_control))
            .ok_or_else(|| BadRequest::PathParameter(name.to_string()))?;
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(BadRequest::DotSegment(name.to_string()));
        }
        Ok((name.clone(), text.into_owned()))
    };
    names.iter().zip(matched).map(decode).collect()
}

impl<'a> RequestValues<'a> {
    /// `path` comes from [`path_parameters`].
    pub fn new(parts: &'a Parts, path: &'a [(Arc<str>, String)], body: &'a Bytes) -> Self {
        let body = Body::new(body);
        Self { parts, path, body }
    }
}

impl<'a> MessageValues<'a> {
    pub fn new(message: &'a Message) -> Self {
        let body = Body::new(&message.body);
        Self { message, body }
    }
}

impl Values for RequestValues<'_> {
    fn get(&self, source: &Source) -> Option<Cow<'_, str>> {
        let value = match source {
            Source::Path(name) => {
                let (_, text) = self.path.iter().find(|(path, _)| path == name)?;
                Cow::Borrowed(text.as_str())
            }
            Source::Query(name) => query(self.parts.uri.query()?, name)?,
            Source::Header(name) => {
                let value = self.parts.headers.get(&**name)?;
                Cow::Borrowed(std::str::from_utf8(value.as_bytes()).ok()?)
            }
            Source::Json(pointer) => self.body.get(pointer)?,
            Source::Property(_) | Source::RoutingKey => return None,
        };
        (!value.is_empty()).then_some(value)
    }
}

impl Values for MessageValues<'_> {
    fn get(&self, source: &Source) -> Option<Cow<'_, str>> {
        let message = self.message;
        let value = match source {
            Source::Path(name) => message.header_text(&format!("{}{name}", names::PATH_PREFIX))?,
            Source::Query(name) => match message.header_text(names::HTTP_QUERY)? {
                Cow::Borrowed(text) => query(text, name)?,
                Cow::Owned(text) => Cow::Owned(query(&text, name)?.into_owned()),
            },
            Source::Header(name) => header(message, name)?,
            Source::Property(property) => self::property(&message.properties, *property)?,
            Source::RoutingKey => message.origin_routing_key(),
            Source::Json(pointer) => self.body.get(pointer)?,
        };
        (!value.is_empty()).then_some(value)
    }
}

impl<'a> Body<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        let json = OnceLock::new();
        Self { bytes, json }
    }

    /// The value at an RFC 6901 pointer; objects and arrays as compact JSON.
    fn get(&self, pointer: &str) -> Option<Cow<'_, str>> {
        let parse = || serde_json::from_slice(self.bytes).ok();
        let json = self.json.get_or_init(parse).as_ref()?;
        match json.pointer(pointer)? {
            Json::Null => None,
            Json::String(text) => Some(Cow::Borrowed(text)),
            other => Some(Cow::Owned(other.to_string())),
        }
    }
}

/// A header by its lower-case name: the table's, in whatever case, else the property's.
fn header<'a>(message: &'a Message, name: &str) -> Option<Cow<'a, str>> {
    if let Some(text) = message.header_text(name) {
        return Some(text);
    }
    let table = message.properties.headers().iter().flatten();
    let mut found = table.filter(|(key, _)| key.as_str().eq_ignore_ascii_case(name));
    if let Some((_, value)) = found.next() {
        return text(value);
    }
    let property = match name {
        "content-type" => Property::ContentType,
        "content-encoding" => Property::ContentEncoding,
        "message-id" => Property::MessageId,
        "correlation-id" => Property::CorrelationId,
        _ => return None,
    };
    self::property(&message.properties, property)
}

fn text(value: &AMQPValue) -> Option<Cow<'_, str>> {
    field::plain(value)
}

fn property(properties: &BasicProperties, property: Property) -> Option<Cow<'_, str>> {
    let text = match property {
        Property::MessageId => properties.message_id(),
        Property::CorrelationId => properties.correlation_id(),
        Property::ContentType => properties.content_type(),
        Property::ContentEncoding => properties.content_encoding(),
        Property::ReplyTo => properties.reply_to(),
        Property::Type => properties.kind(),
        Property::UserId => properties.user_id(),
        Property::AppId => properties.app_id(),
        Property::Expiration => properties.expiration(),
        Property::Priority => return Some(Cow::Owned((*properties.priority())?.to_string())),
        Property::Timestamp => return Some(Cow::Owned((*properties.timestamp())?.to_string())),
        Property::DeliveryMode => {
            return Some(Cow::Owned((*properties.delivery_mode())?.to_string()));
        }
    };
    text.as_ref().map(|text| Cow::Borrowed(text.as_str()))
}

/// The first value of a query parameter, decoded as HTML forms write it.
fn query<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let decode = |text: &'a str| -> Option<Cow<'a, str>> {
        if text.contains('+') {
            let spaced = text.replace('+', " ");
            return Some(Cow::Owned(
                percent_decode_str(&spaced).decode_utf8().ok()?.into_owned(),
            ));
        }
        percent_decode_str(text).decode_utf8().ok()
    };
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key)? == name).then(|| decode(value))?
    })
}
