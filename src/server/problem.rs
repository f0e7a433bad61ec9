//! Refusals as HTTP sees them: problem documents (RFC 9457).

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::Full;

use super::{Kind, Response};

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
    /// Seconds, where it is known better than by the kind of refusal.
    pub retry_after: Option<u64>,
}

// === impl Problem ===

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            message_id: None,
            allow: None,
            retry_after: None,
        }
    }

    /// The refusal of a request that became the message `id`.
    pub fn about(mut self, id: &str) -> Self {
        self.message_id = Some(id.to_owned());
        self
    }

    /// The refusal of what may be tried again after so many seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
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
        if let Some(seconds) = self.retry_after.or(row.retry_after.map(u64::from)) {
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
