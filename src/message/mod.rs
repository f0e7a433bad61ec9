//! What travels, and its two forms: an HTTP request or response, and an AMQP message.
//!
//! `request` and `reply` go from HTTP to AMQP and back for calls that come in, `forward` and
//! `reply` for calls that go out. `field` gives every AMQP value a text form, `headers` decides
//! which names may cross over.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, ShortString},
};

pub mod copy;
pub mod field;
pub mod forward;
pub mod headers;
pub mod names;
pub mod reply;
pub mod request;
pub mod values;

pub use forward::Forwarded;
pub use reply::{BadReply, Response};
pub use request::{BadRequest, RequestOptions};
pub use values::{MessageValues, RequestValues};

/// A message as it came from the broker.
#[derive(Debug, Clone)]
pub struct Message {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub redelivered: bool,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// One message to publish: mandatory always, persistent where its properties say so.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Empty: the default exchange.
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// The header by which the publisher recognises its returned messages. It stays on the message and
/// means nothing to anybody else.
pub const RETURN_ID: &str = "hareway-return-id";

/// A new message id: a UUIDv7, so that ids sort by their time.
pub fn new_id() -> ShortString {
    // 36 characters: the fallback cannot happen and would only leave the id empty.
    ShortString::try_new(uuid::Uuid::now_v7().to_string()).unwrap_or_default()
}

/// Seconds since the Unix epoch, the unit of AMQP timestamps.
pub fn timestamp(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

impl Message {
    /// The value of one header; names in messages are case-sensitive.
    pub fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    /// One header's text, where it is text or a number.
    pub fn header_text(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        field::plain(self.header(name)?)
    }

    /// The message id, where there is one that is not empty.
    pub fn id(&self) -> Option<&str> {
        let id = self.properties.message_id().as_ref()?.as_str();
        (!id.is_empty()).then_some(id)
    }

    /// How often its delivery has failed so far. The broker's own counts do not enter here: they
    /// mean other things in every queue type and version.
    pub fn failures(&self) -> u32 {
        self.header(names::ATTEMPT)
            .and_then(field::integer)
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0)
    }

    /// When its delivery failed first.
    pub fn first_failed_at(&self) -> Option<SystemTime> {
        let seconds = field::integer(self.header(names::FIRST_FAILED_AT)?)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
    }

    /// The exchange it was published to first, before any retry queue.
    pub fn origin_exchange(&self) -> std::borrow::Cow<'_, str> {
        self.header_text(names::EXCHANGE)
            .unwrap_or_else(|| self.exchange.as_str().into())
    }

    /// The routing key it was published with first, before any retry queue.
    pub fn origin_routing_key(&self) -> std::borrow::Cow<'_, str> {
        self.header_text(names::ROUTING_KEY)
            .unwrap_or_else(|| self.routing_key.as_str().into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
