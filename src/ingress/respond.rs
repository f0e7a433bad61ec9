//! What a publish came to, as HTTP: the one place that turns outcomes into answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use http_body_util::Full;

use crate::{
    amqp::Outcome,
    config::model::Accepted,
    server::{Kind, Problem, Response, problem::id_header},
    store::Refused,
};

const MESSAGE_ID: HeaderName = HeaderName::from_static("message-id");

/// How an accepted message is said to have ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// In a queue, confirmed.
    Accepted,
    /// On disk, to be published when the broker takes it.
    Spooled,
    /// No queue took it, which the route allows.
    Discarded,
}

/// The row of the table that a publish without success belongs to; `None` for success.
pub(super) fn refusal(outcome: &Outcome) -> Option<Kind> {
    Some(match outcome {
        Outcome::Routed => return None,
        Outcome::Unroutable => Kind::Unroutable,
        Outcome::Nacked => Kind::RejectedByBroker,
        Outcome::TooLarge => Kind::BodyTooLarge,
        Outcome::Refused(_) => Kind::Refused,
        Outcome::Unknown => Kind::OutcomeUnknown,
        Outcome::Unavailable => Kind::BrokerUnavailable,
        Outcome::Blocked => Kind::BrokerBlocked,
        Outcome::Overloaded => Kind::Overloaded,
    })
}

/// What the caller is told about a publish without success.
///
/// The broker's own words stay in the log: they name users, virtual hosts and nodes.
pub(super) fn explain(kind: Kind, exchange: &str, routing_key: &str, id: &str) -> Problem {
    let detail = match kind {
        Kind::Unroutable => {
            let exchange = match exchange {
                "" => "the default exchange",
                name => &format!("the exchange `{name}`"),
            };
            format!(
                "the message was returned: {exchange} has no queue for the routing key `{routing_key}`"
            )
        }
        Kind::RejectedByBroker => {
            "the broker refused the message because a queue is full".to_owned()
        }
        Kind::BodyTooLarge => "the message is larger than the broker allows".to_owned(),
        Kind::Refused => "the broker refused the publish; the bridge's log says why".to_owned(),
        Kind::OutcomeUnknown => {
            "the message may exist; a repeat with the same `Message-Id` is safe".to_owned()
        }
        Kind::BrokerUnavailable => "the message was not published: no connection".to_owned(),
        Kind::BrokerBlocked => {
            "the message was not published: the broker has raised an alarm".to_owned()
        }
        Kind::Overloaded => {
            "the message was not published: too many publishes are under way".to_owned()
        }
        _ => "the message was not published".to_owned(),
    };
    Problem::new(kind, detail).about(id)
}

/// What the caller is told when neither the broker nor the spool took the message.
pub(super) fn not_spooled(refused: &Refused, id: &str) -> Problem {
    let (kind, detail) = match refused {
        Refused::Full => (
            Kind::SpoolFull,
            "the broker does not take the message, and the route's spool is full",
        ),
        Refused::Unfit(_) => (
            Kind::BadRequest,
            "the broker does not take the message now, and its headers are nested too deep for the route's spool",
        ),
        Refused::Unavailable(_) => (
            Kind::StoreUnavailable,
            "the broker does not take the message, and the disk takes nothing; the message was not stored",
        ),
        Refused::Unknown(_) => (
            Kind::StoreUnavailable,
            "the broker does not take the message, and the disk gave no certain answer; the message may be stored, and be published later; a repeat with the same `Message-Id` is safe",
        ),
    };
    Problem::new(kind, detail).about(id)
}

/// The answer that a route's `accepted:` asks for.
pub(super) fn accepted(settings: &Accepted, id: &str, status: Status) -> Response {
    let own = settings.body.is_none();
    let body = match &settings.body {
        Some(body) => body.clone(),
        None => document(id, status),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = settings.status;
    let headers = response.headers_mut();
    if own {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    if let Some(value) = id_header(id) {
        headers.insert(MESSAGE_ID, value);
    }
    for (name, value) in &settings.headers {
        headers.insert(name, value.clone());
    }
    response
}

/// `{"id":"…","status":"accepted"}`, without the cost of a serializer: this is the hot answer.
fn document(id: &str, status: Status) -> Bytes {
    let status = match status {
        Status::Accepted => "accepted",
        Status::Spooled => "spooled",
        Status::Discarded => "discarded",
    };
    let mut text = String::with_capacity(id.len() + 40);
    text.push_str("{\"id\":\"");
    // RFC 8259 §7: nothing else must be escaped, and hardly any id has it.
    if id.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..b' ')) {
        escape(id, &mut text);
    } else {
        text.push_str(id);
    }
    text.push_str("\",\"status\":\"");
    text.push_str(status);
    text.push_str("\"}");
    Bytes::from(text)
}

fn escape(id: &str, text: &mut String) {
    for character in id.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if control < ' ' => {
                text.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => text.push(other),
        }
    }
}
