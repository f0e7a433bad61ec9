//! What travels, and its two forms.

use bytes::Bytes;
use lapin::{BasicProperties, types::ShortString};

/// A message as it came from the broker.
#[derive(Debug, Clone)]
pub struct Message {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub redelivered: bool,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// The header by which the publisher recognises its returned messages. It stays on the message and
/// means nothing to anybody else.
pub const RETURN_ID: &str = "hareway-return-id";
