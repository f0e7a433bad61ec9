//! Request bodies: read within a size, a time and the process's budget, or let go politely.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::{Kind, Problem, Response};
use crate::{
    buffer::{Buffer, Held},
    task,
};

/// The most bytes of a refused body that are read and thrown away, so that the client can finish
/// sending and sees the answer instead of a reset.
const DISCARD_BYTES: u64 = 16 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);
/// What a body that does not say its length is given room for at first.
const FIRST_ROOM: u64 = 16 * 1024;

/// The bounds of one body.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: u64,
    pub deadline: Instant,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        limit: u64,
        /// Seen from `Content-Length`, before anything was read.
        declared: bool,
    },
    #[error("the body did not come in time")]
    Timeout,
    #[error("the bodies held at once have reached their limit")]
    NoRoom,
    #[error("the body is malformed or broke off")]
    Broken,
}

/// A body that counts as held until its last clone is gone, wherever that is.
struct HeldBody {
    bytes: Bytes,
    _held: Held,
}

/// Reads a whole body. `body` is left where reading stopped, for [`refuse`].
///
/// # Errors
/// See [`BodyError`]. A declared length over the limit is refused before anything is read.
pub async fn read(
    body: &mut Incoming,
    limits: Limits,
    buffer: &Buffer,
) -> Result<Bytes, BodyError> {
    let hint = body.size_hint();
    if hint.lower() > limits.bytes {
        return Err(BodyError::TooLarge {
            limit: limits.bytes,
            declared: true,
        });
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match timeout_at(limits.deadline, collect(body, hint.exact(), limits, buffer)).await {
        Ok(read) => read,
        Err(_) => Err(BodyError::Timeout),
    }
}

async fn collect(
    body: &mut Incoming,
    length: Option<u64>,
    limits: Limits,
    buffer: &Buffer,
) -> Result<Bytes, BodyError> {
    let mut held = buffer.hold(0);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut total: u64 = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        // Trailers are not carried: AMQP has no place for them.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let size = data.len() as u64;
        total = total.saturating_add(size);
        if total > limits.bytes {
            return Err(BodyError::TooLarge {
                limit: limits.bytes,
                declared: false,
            });
        }
        if !held.try_grow(size) {
            return Err(BodyError::NoRoom);
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            let room = length.unwrap_or(FIRST_ROOM).max(total);
            rest.reserve(usize::try_from(room).unwrap_or(0));
            rest.extend_from_slice(&first);
            first = Bytes::new();
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok(hold(bytes, held))
}

/// Ties what is counted for a body to the body's own life, whoever has the last clone of it.
pub fn hold(bytes: Bytes, held: Held) -> Bytes {
    if bytes.is_empty() {
        return bytes;
    }
    Bytes::from_owner(HeldBody { bytes, _held: held })
}

/// Answers a request whose body has not been read to its end.
///
/// `begun` says whether reading had started, which tells a client that waits for leave to send
/// (`Expect: 100-continue`) to go on. Where it still waits, nothing is read and the connection
/// closes. Elsewhere the rest is read and thrown away in the background, within limits:
/// the connection stays usable, or at least the client sees the answer.
pub fn refuse(
    problem: Problem,
    version: Version,
    headers: &HeaderMap,
    body: Incoming,
    begun: bool,
    tracker: &TaskTracker,
) -> Response {
    let mut response = problem.into_response();
    if body.is_end_stream() || version >= Version::HTTP_2 {
        return response;
    }
    // A chunked body may turn out to be short; where it does not, dropping it ends the connection.
    let rest = body.size_hint().lower();
    let waits = !begun
        && headers
            .get(header::EXPECT)
            .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if waits || rest > DISCARD_BYTES {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if !waits {
        drop(task::spawn(tracker, "discard-body", discard(body)));
    }
    response
}

async fn discard(mut body: Incoming) {
    let deadline = Instant::now() + DISCARD_TIME;
    let mut total: u64 = 0;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        total = total.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
        if total > DISCARD_BYTES {
            return;
        }
    }
}

impl BodyError {
    /// Whether reading had started, so that a waiting client has been told to send.
    pub fn had_begun(&self) -> bool {
        !matches!(self, Self::TooLarge { declared: true, .. })
    }

    /// What the caller is told.
    pub fn problem(&self) -> Problem {
        let kind = match self {
            Self::TooLarge { .. } => Kind::BodyTooLarge,
            Self::Timeout => Kind::BodyTimeout,
            Self::NoRoom => Kind::Overloaded,
            Self::Broken => Kind::BadRequest,
        };
        Problem::new(kind, self.to_string())
    }
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
