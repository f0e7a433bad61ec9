//! A message → the headers of the HTTP request that delivers it.

use http::{HeaderMap, HeaderName, HeaderValue};
use lapin::types::AMQPValue;

use super::{Message, field, headers, headers::Filter, names, request::AS_PROPERTIES};
use crate::config::model::HeaderRules;

/// Headers for HTTP, and how many HTTP could not carry.
#[derive(Debug, Default)]
pub struct Forwarded {
    pub headers: HeaderMap,
    pub skipped: u64,
}

/// The headers of the call: properties, the message's own headers, the route's, Hareway's.
///
/// `id` is the message id to present, `queue` the one it was taken from; `set` holds the route's
/// rendered headers.
pub fn headers(
    message: &Message,
    id: &str,
    queue: &str,
    rules: &HeaderRules,
    set: &[(HeaderName, String)],
) -> Forwarded {
    let filter = Filter::for_message(rules, message.properties.headers().as_ref());
    let mut out = Forwarded::default();
    properties(message, id, &filter, &mut out);
    table(message, &filter, &mut out);
    if filter.passes("cc")
        && let Some(value) = message.header(names::CC)
    {
        out.append(&HeaderName::from_static("cc"), value);
    }
    if !out.headers.contains_key("idempotency-key") {
        out.property("idempotency-key", id, &filter);
    }
    let attempt = message.failures().saturating_add(1);
    out.property("hareway-attempt", &attempt.to_string(), &filter);
    out.property("hareway-queue", queue, &filter);
    out.property("hareway-exchange", &message.origin_exchange(), &filter);
    out.property(
        "hareway-routing-key",
        &message.origin_routing_key(),
        &filter,
    );
    out.set(set);
    out
}

/// Puts the entries of the message's table into `out`, where no property stands there already.
pub(super) fn table(message: &Message, filter: &Filter<'_>, out: &mut Forwarded) {
    for (key, value) in message.properties.headers().iter().flatten() {
        let name = key.as_str().to_ascii_lowercase();
        let own = name.starts_with(names::PREFIX) || name.starts_with("amqp-");
        let given = AS_PROPERTIES.contains(&&*name) && out.headers.contains_key(&*name);
        if own || given || !filter.passes(&name) {
            continue;
        }
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => out.append(&name, value),
            Err(_) => out.skipped += 1,
        }
    }
}

fn properties(message: &Message, id: &str, filter: &Filter<'_>, out: &mut Forwarded) {
    let properties = &message.properties;
    out.property("message-id", id, filter);
    let texts = [
        ("correlation-id", properties.correlation_id()),
        ("content-type", properties.content_type()),
        ("content-encoding", properties.content_encoding()),
        ("amqp-type", properties.kind()),
        ("amqp-app-id", properties.app_id()),
        ("amqp-user-id", properties.user_id()),
        ("amqp-cluster-id", properties.cluster_id()),
        ("amqp-reply-to", properties.reply_to()),
        ("amqp-expiration", properties.expiration()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.property(name, text.as_str(), filter);
        }
    }
    // Retried messages have these as headers: see `names`.
    let moved = [
        (
            "amqp-expiration",
            properties.expiration(),
            names::EXPIRATION,
        ),
        ("amqp-user-id", properties.user_id(), names::USER_ID),
    ];
    for (name, text, kept) in moved {
        if text.is_none()
            && let Some(text) = message.header_text(kept)
        {
            out.property(name, &text, filter);
        }
    }
    if let Some(timestamp) = properties.timestamp() {
        out.property("amqp-timestamp", &timestamp.to_string(), filter);
    }
    let octets = [
        ("amqp-priority", properties.priority()),
        ("amqp-delivery-mode", properties.delivery_mode()),
    ];
    for (name, octet) in octets {
        if let Some(octet) = octet {
            out.property(name, &octet.to_string(), filter);
        }
    }
}

// === impl Forwarded ===

impl Forwarded {
    /// A header that stands for a property: as it is, or not at all.
    pub(super) fn property(&mut self, name: &'static str, text: &str, filter: &Filter<'_>) {
        if !filter.allows(name) {
            return;
        }
        let name = HeaderName::from_static(name);
        match HeaderValue::from_bytes(text.as_bytes()) {
            Ok(value) => self.insert(name, value),
            Err(_) => self.skipped += 1,
        }
    }

    /// The route's own headers, over all others.
    pub(super) fn set(&mut self, set: &[(HeaderName, String)]) {
        for (name, text) in set {
            if !headers::is_settable(name.as_str()) {
                continue;
            }
            match HeaderValue::from_bytes(text.as_bytes()) {
                Ok(value) => self.insert(name.clone(), value),
                Err(_) => self.skipped += 1,
            }
        }
    }

    fn append(&mut self, name: &HeaderName, value: &AMQPValue) {
        // The lines of a header that cannot be joined travel as an array.
        if let (&http::header::SET_COOKIE, AMQPValue::FieldArray(lines)) = (name, value) {
            for line in lines.as_slice() {
                self.append_one(name, line);
            }
        } else {
            self.append_one(name, value);
        }
    }

    fn append_one(&mut self, name: &HeaderName, value: &AMQPValue) {
        let value = field::write(value).and_then(|text| HeaderValue::from_maybe_shared(text).ok());
        let added = value.is_some_and(|value| self.headers.try_append(name, value).is_ok());
        if !added {
            self.skipped += 1;
        }
    }

    fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        if self.headers.try_insert(name, value).is_err() {
            self.skipped += 1;
        }
    }
}
