//! Why a request is refused: one table, whose columns are the functions below.

use http::StatusCode;

/// Why a request was not answered with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BadRequest,
    IdempotencyKeyMissing,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    IdempotencyInProgress,
    BodyTooLarge,
    UriTooLong,
    IdempotencyConflict,
    RateLimited,
    HeadersTooLarge,
    Internal,
    Unroutable,
    Refused,
    BadReply,
    RejectedByBroker,
    BrokerUnavailable,
    BrokerBlocked,
    SpoolFull,
    StoreUnavailable,
    IdempotencyFull,
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

impl Kind {
    /// Every kind, in the order of the statuses.
    pub const ALL: [Self; 25] = [
        Self::BadRequest,
        Self::IdempotencyKeyMissing,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::IdempotencyInProgress,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::IdempotencyConflict,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Unroutable,
        Self::Refused,
        Self::BadReply,
        Self::RejectedByBroker,
        Self::BrokerUnavailable,
        Self::BrokerBlocked,
        Self::SpoolFull,
        Self::StoreUnavailable,
        Self::IdempotencyFull,
        Self::Overloaded,
        Self::OutcomeUnknown,
        Self::ReplyTimeout,
    ];

    /// The table.
    pub fn row(self) -> Row {
        Row {
            status: self.status(),
            name: self.name(),
            title: self.title(),
            retry_after: self.retry_after(),
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::IdempotencyKeyMissing => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::IdempotencyInProgress => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::IdempotencyConflict => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unroutable | Self::Refused | Self::BadReply => StatusCode::BAD_GATEWAY,
            Self::RejectedByBroker
            | Self::BrokerUnavailable
            | Self::BrokerBlocked
            | Self::SpoolFull
            | Self::StoreUnavailable
            | Self::IdempotencyFull
            | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::OutcomeUnknown | Self::ReplyTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::IdempotencyKeyMissing => "idempotency-key-missing",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BodyTimeout => "body-timeout",
            Self::IdempotencyInProgress => "idempotency-in-progress",
            Self::BodyTooLarge => "body-too-large",
            Self::UriTooLong => "uri-too-long",
            Self::IdempotencyConflict => "idempotency-conflict",
            Self::RateLimited => "rate-limited",
            Self::HeadersTooLarge => "headers-too-large",
            Self::Internal => "internal",
            Self::Unroutable => "unroutable",
            Self::Refused => "refused-by-broker",
            Self::BadReply => "bad-reply",
            Self::RejectedByBroker => "rejected-by-broker",
            Self::BrokerUnavailable => "broker-unavailable",
            Self::BrokerBlocked => "broker-blocked",
            Self::SpoolFull => "spool-full",
            Self::StoreUnavailable => "store-unavailable",
            Self::IdempotencyFull => "idempotency-full",
            Self::Overloaded => "overloaded",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::ReplyTimeout => "reply-timeout",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad request",
            Self::IdempotencyKeyMissing => "The request has no idempotency key",
            Self::Forbidden => "The call comes from elsewhere",
            Self::NotFound => "No such path",
            Self::MethodNotAllowed => "The path does not know this method",
            Self::BodyTimeout => "The body did not come in time",
            Self::IdempotencyInProgress => "The first call with this key is under way",
            Self::BodyTooLarge => "The body is too large",
            Self::UriTooLong => "The request target is too long",
            Self::IdempotencyConflict => "The key was used for another request",
            Self::RateLimited => "Too many calls",
            Self::HeadersTooLarge => "The headers are too large",
            Self::Internal => "The bridge failed",
            Self::Unroutable => "No queue took the message",
            Self::Refused => "The broker refused the publish",
            Self::BadReply => "The reply cannot become a response",
            Self::RejectedByBroker => "A queue is full",
            Self::BrokerUnavailable => "The broker is not connected",
            Self::BrokerBlocked => "The broker takes no messages",
            Self::SpoolFull => "The route's spool is full",
            Self::StoreUnavailable => "The bridge's store cannot be written",
            Self::IdempotencyFull => "No more idempotency keys can be kept",
            Self::Overloaded => "The bridge is at its limit",
            Self::OutcomeUnknown => "The broker did not confirm in time",
            Self::ReplyTimeout => "The reply did not come in time",
        }
    }

    fn retry_after(self) -> Option<u32> {
        match self {
            Self::IdempotencyInProgress | Self::RateLimited | Self::Overloaded => Some(1),
            Self::RejectedByBroker
            | Self::BrokerUnavailable
            | Self::BrokerBlocked
            | Self::SpoolFull
            | Self::StoreUnavailable => Some(5),
            Self::IdempotencyFull => Some(60),
            _ => None,
        }
    }
}
