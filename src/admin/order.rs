//! The JSON that an operator sends to have something done.

use bytes::Bytes;
use http::{Request, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

use crate::{
    buffer::Buffer,
    server::{BodyLimits, Kind, Problem, Response, body, refuse},
};

/// Of one order, in bytes; and of all that come in at once.
const BODY_LIMIT: u64 = 64 * 1024;
const BODIES_LIMIT: u64 = 1024 * 1024;
const BODY_TIME: Duration = Duration::from_secs(10);

/// The room for the orders of one part of the listener.
pub(super) fn room() -> Buffer {
    Buffer::new(BODIES_LIMIT)
}

/// Reads a whole body that says it is JSON; otherwise the answer that says why not.
pub(super) async fn read(
    request: Request<Incoming>,
    buffer: &Buffer,
) -> Result<Bytes, Box<Response>> {
    let (parts, mut incoming) = request.into_parts();
    // A web page may have a browser send any other type anywhere, without asking first.
    let kind = parts.headers.get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        let problem = bad("the `Content-Type` must be application/json");
        let version = parts.version;
        let tracker = TaskTracker::new();
        let refused = refuse(problem, version, &parts.headers, incoming, false, &tracker);
        return Err(Box::new(refused));
    }
    let limits = BodyLimits {
        bytes: BODY_LIMIT,
        deadline: Instant::now() + BODY_TIME,
    };
    match body::read(&mut incoming, limits, buffer).await {
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(Box::new(refuse(
            error.problem(),
            parts.version,
            &parts.headers,
            incoming,
            error.had_begun(),
            &TaskTracker::new(),
        ))),
    }
}

/// A part of a path or query.
pub(super) fn decoded(text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    let text = decoded.map_err(|_| bad("the path or query is not percent-encoded UTF-8"))?;
    Ok(text.into_owned())
}

pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadRequest, detail)
}
