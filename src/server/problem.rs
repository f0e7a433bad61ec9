//! Refusals as HTTP sees them: one table, written as problem documents (RFC 9457).

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;

use super::Response;

/// Why a request was not answered with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    BodyTooLarge,
    UriTooLong,
    HeadersTooLarge,
    Internal,
    Unroutable,
    Refused,
    BadReply,
    RejectedByBroker,
    BrokerUnavailable,
    BrokerBlocked,
    Overloaded,
    OutcomeUnknown,
    ReplyTimeout,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub status: StatusCode,
    /// The problem type is `urn:hareway:NAME`.
    pub name: &'static str,
    pub title: &'static str,
    /// Seconds, where trying again later is the remedy.
    pub retry_after: Option<u32>,
}

/// A refusal with what the caller is told about it. What the log is told stands elsewhere.
#[derive(Debug, Clone)]
pub struct Problem {
    pub kind: Kind,
    /// For this one occurrence; never a secret, a body or a broker's own words.
    pub detail: String,
    /// The message's id, where one was assigned.
    pub message_id: Option<String>,
    /// The methods that the path knows, for 405.
    pub allow: Option<HeaderValue>,
}

impl Kind {
    /// Every kind, in the order of the statuses.
    pub const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Unroutable,
        Self::Refused,
        Self::BadReply,
        Self::RejectedByBroker,
        Self::BrokerUnavailable,
        Self::BrokerBlocked,
        Self::Overloaded,
        Self::OutcomeUnknown,
        Self::ReplyTimeout,
    ];

    /// The table.
    pub fn row(self) -> Row {
        use StatusCode as S;
        let row = |status, name, title| Row {
            status,
            name,
            title,
            retry_after: None,
        };
        let later = |name, title, seconds| Row {
            status: S::SERVICE_UNAVAILABLE,
            name,
            title,
            retry_after: Some(seconds),
        };
        match self {
            Self::BadRequest => row(S::BAD_REQUEST, "bad-request", "Bad request"),
            Self::NotFound => row(S::NOT_FOUND, "not-found", "No such path"),
            Self::MethodNotAllowed => {
                let title = "The path does not know this method";
                row(S::METHOD_NOT_ALLOWED, "method-not-allowed", title)
            }
            Self::BodyTimeout => {
                let title = "The body did not come in time";
                row(S::REQUEST_TIMEOUT, "body-timeout", title)
            }
            Self::BodyTooLarge => {
                let title = "The body is too large";
                row(S::PAYLOAD_TOO_LARGE, "body-too-large", title)
            }
            Self::UriTooLong => {
                let title = "The request target is too long";
                row(S::URI_TOO_LONG, "uri-too-long", title)
            }
            Self::HeadersTooLarge => {
                let status = S::REQUEST_HEADER_FIELDS_TOO_LARGE;
                row(status, "headers-too-large", "The headers are too large")
            }
            Self::Internal => row(S::INTERNAL_SERVER_ERROR, "internal", "The bridge failed"),
            Self::Unroutable => row(S::BAD_GATEWAY, "unroutable", "No queue took the message"),
            Self::Refused => {
                let title = "The broker refused the publish";
                row(S::BAD_GATEWAY, "refused-by-broker", title)
            }
            Self::BadReply => {
                let title = "The reply cannot become a response";
                row(S::BAD_GATEWAY, "bad-reply", title)
            }
            Self::RejectedByBroker => later("rejected-by-broker", "A queue is full", 5),
            Self::BrokerUnavailable => {
                later("broker-unavailable", "The broker is not connected", 5)
            }
            Self::BrokerBlocked => later("broker-blocked", "The broker takes no messages", 5),
            Self::Overloaded => later("overloaded", "The bridge is at its limit", 1),
            Self::OutcomeUnknown => {
                let title = "The broker did not confirm in time";
                row(S::GATEWAY_TIMEOUT, "outcome-unknown", title)
            }
            Self::ReplyTimeout => {
                let title = "The reply did not come in time";
                row(S::GATEWAY_TIMEOUT, "reply-timeout", title)
            }
        }
    }
}

// === impl Problem ===

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            message_id: None,
            allow: None,
        }
    }

    /// The refusal of a request that became the message `id`.
    pub fn about(mut self, id: &str) -> Self {
        self.message_id = Some(id.to_owned());
        self
    }

    /// 405 with the methods that the path knows.
    pub fn not_allowed(allow: HeaderValue) -> Self {
        let mut problem = Self::new(
            Kind::MethodNotAllowed,
            "the `Allow` header lists what the path knows",
        );
        problem.allow = Some(allow);
        problem
    }

    pub fn into_response(self) -> Response {
        let row = self.kind.row();
        let mut document = serde_json::json!({
            "type": format!("urn:hareway:{}", row.name),
            "title": row.title,
            "status": row.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(id), Some(members)) = (&self.message_id, document.as_object_mut()) {
            members.insert("message_id".to_owned(), id.as_str().into());
        }
        let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
        *response.status_mut() = row.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = row.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, allow);
        }
        if let Some(id) = self.message_id.as_deref().and_then(id_header) {
            headers.insert("message-id", id);
        }
        response
    }
}

/// A message id as a header value; `None` where HTTP cannot carry it.
pub fn id_header(id: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(id.as_bytes()).ok()
}
