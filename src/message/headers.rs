//! Which headers may cross over.
//!
//! Three built-in lists stand before a route's own rules. *Hop-by-hop* names never cross, whatever
//! the route says. *Guarded* ones cross only where the route's `pass` names them exactly.
//! *Reserved* ones are Hareway's and the broker's: nobody outside may set them.

use http::{HeaderMap, header};
use lapin::types::{AMQPValue, FieldTable};

use super::names;
use crate::config::model::{HeaderPattern, HeaderRules};

/// RFC 9110 7.6.1, and what belongs to one connection or one framing of the body.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "set-cookie", "set-cookie2"];
/// The request line or status of the call that became the message.
const CALL: [&str; 4] = [
    names::HTTP_METHOD,
    names::HTTP_PATH,
    names::HTTP_QUERY,
    names::HTTP_STATUS,
];
/// What the broker writes into messages that it dead-letters, redelivers or federates.
const BROKER: [&str; 4] = [
    "x-acquired-count",
    "x-death",
    "x-delivery-count",
    "x-received-from",
];
const BROKER_PREFIXES: [&str; 2] = ["x-first-death-", "x-last-death-"];
/// W3C trace context: it crosses even where `pass` lists other names only.
const TRACE: [&str; 3] = ["baggage", "traceparent", "tracestate"];

/// A route's rules for one direction, and the names that this message's `Connection` lists.
#[derive(Debug)]
pub struct Filter<'a> {
    rules: &'a HeaderRules,
    connection: Vec<String>,
}

impl<'a> Filter<'a> {
    /// For a request or response with these headers.
    pub fn for_http(rules: &'a HeaderRules, headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONNECTION);
        let connection = values
            .iter()
            .flat_map(|value| listed(value.as_bytes()))
            .collect();
        Self { rules, connection }
    }

    /// For a message with this table: its publisher may have copied a `Connection` header.
    pub fn for_message(rules: &'a HeaderRules, table: Option<&FieldTable>) -> Self {
        let connection = table
            .into_iter()
            .flatten()
            .filter(|(name, _)| name.as_str().eq_ignore_ascii_case("connection"))
            .flat_map(|(_, value)| match value {
                AMQPValue::LongString(text) => listed(text.as_bytes()),
                _ => Vec::new(),
            })
            .collect();
        Self { rules, connection }
    }

    /// Whether an ordinary header may cross. `name` is in lower case.
    pub fn passes(&self, name: &str) -> bool {
        if !self.allows(name) {
            return false;
        }
        let Some(pass) = &self.rules.pass else {
            return !is_guarded(name);
        };
        if is_guarded(name) {
            return pass
                .iter()
                .any(|pattern| matches!(pattern, HeaderPattern::Exact(exact) if exact == name));
        }
        TRACE.contains(&name) || pass.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether a header that stands for a property, or that Hareway adds, may cross: `pass` lists
    /// do not hold it back, `drop` does. `name` is in lower case.
    pub fn allows(&self, name: &str) -> bool {
        !is_hop_by_hop(name)
            && !self.connection.iter().any(|listed| listed == name)
            && !self.rules.drop.iter().any(|pattern| pattern.matches(name))
    }
}

/// Whether the name belongs to one connection and never crosses. `name` is in lower case.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Whether a route may give this header to outgoing calls with `set`: `Host` it may.
pub fn is_settable(name: &str) -> bool {
    name == "host" || !is_hop_by_hop(name)
}

/// Whether only Hareway and the broker may write this header into a message. `name` is in lower
/// case.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(names::PREFIX)
        || name.starts_with("amqp-")
        || CALL.contains(&name)
        || is_broker(name)
}

/// Whether the header must be named exactly in `pass` to cross.
fn is_guarded(name: &str) -> bool {
    CREDENTIALS.contains(&name)
        || name.starts_with("proxy-")
        || CALL.contains(&name)
        || is_broker(name)
}

/// Whether the broker writes this header itself. `name` is in lower case.
pub fn is_broker(name: &str) -> bool {
    BROKER.contains(&name)
        || BROKER_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn listed(value: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(value)
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}
