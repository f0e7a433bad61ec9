//! Between an HTTP head and the properties of a message.

use bytes::Bytes;
use hareway::{
    config::model::HeaderRules,
    message::{Message, RequestOptions, forward, request},
};
use http::{Request, request::Parts};
use lapin::types::ShortString;

/// A request as clients send them, and the message that it becomes.
pub(crate) struct Mapping {
    parts: Parts,
    rules: HeaderRules,
    message: Message,
}

/// Twelve headers, of which two are never passed on and three become properties.
const HEADERS: [(&str, &str); 12] = [
    ("host", "localhost:8080"),
    ("user-agent", "shop/7.3 (linux)"),
    ("accept", "application/json"),
    ("accept-language", "en-GB,en;q=0.8"),
    ("content-type", "application/json"),
    ("content-length", "1024"),
    ("x-request-id", "6f0b7c32-65a1-4b0f-a0cb-2d1e6d1d5a11"),
    ("x-tenant", "acme"),
    ("x-forwarded-for", "192.0.2.17"),
    (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    ("correlation-id", "c-17"),
    ("message-id", "m-17"),
];

impl Mapping {
    pub(crate) fn new() -> Self {
        let mut request = Request::post("/orders/eu?dry=1");
        for (name, value) in HEADERS {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let rules = HeaderRules::default();
        let message = Message {
            exchange: ShortString::default(),
            routing_key: ShortString::try_new("orders").expect("short"),
            redelivered: false,
            properties: properties(&parts, &rules),
            body: Bytes::from_static(b"{}"),
        };
        Self {
            parts,
            rules,
            message,
        }
    }

    /// Request → properties, headers table included.
    pub(crate) fn to_message(&self) -> lapin::BasicProperties {
        properties(&self.parts, &self.rules)
    }

    /// Message → headers of the request that delivers it.
    pub(crate) fn to_request(&self) -> http::HeaderMap {
        let forwarded = forward::headers(&self.message, "m-17", "orders", &self.rules, &[]);
        assert_eq!(forwarded.skipped, 0, "headers that HTTP cannot carry");
        forwarded.headers
    }
}

fn properties(parts: &Parts, rules: &HeaderRules) -> lapin::BasicProperties {
    request::properties(parts, rules, &[], &RequestOptions::default()).expect("properties")
}
