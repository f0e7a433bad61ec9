//! Who may carry a call out, and what is kept of its answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use lapin::types::ShortString;

use super::{
    super::{caller_ids::CallerIds, draft::Received, inlet::Inlet, patience},
    identity::{Identity, Reader},
};
use crate::{
    buffer::Buffer,
    config::model::Idempotency,
    server::{Kind, Problem, Response, body::hold},
    store::{self, Answers, Begin, Begun, Digest, Refused},
};

/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The keys of one route.
#[derive(Debug)]
pub(in crate::ingress) struct Guard {
    reader: Reader,
    required: bool,
    ttl: Duration,
    answers: Answers,
    buffer: Buffer,
    /// The calls that this process carries out: fingerprints by key.
    running: Mutex<HashMap<Digest, Digest>>,
}

/// What a call finds.
pub(super) enum Claimed {
    Mine(Claim),
    /// The answer of the first call.
    Answered(Response),
}

/// The right to carry a call out. Dropping it unsettled leaves the key begun, for a repeat to take
/// over.
pub(super) struct Claim {
    running: Running,
    message_id: ShortString,
    /// An earlier attempt may have published the message.
    taken_over: bool,
}

/// A key's place among the running calls.
struct Running {
    guard: Arc<Guard>,
    key: Digest,
}

/// What becomes of a key whose call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Repeats get the answer.
    Keep,
    /// A repeat is a new call.
    Release,
    /// A repeat publishes again under the same message id.
    Leave,
}

// === impl Guard ===

impl Guard {
    pub(in crate::ingress) fn new(
        settings: &Idempotency,
        answers: Answers,
        buffer: Buffer,
    ) -> Self {
        Self {
            reader: Reader::new(settings),
            required: settings.required,
            ttl: settings.ttl,
            answers,
            buffer,
            running: Mutex::default(),
        }
    }

    /// Which call the request is; `None` where it has no key and needs none.
    ///
    /// # Errors
    /// A key that is missing or no key.
    pub(in crate::ingress) fn identify(
        &self,
        inlet: &Inlet,
        request: &Received,
    ) -> Result<Option<Identity>, Problem> {
        let refused = match self.reader.read(request) {
            Ok(None) if self.required => Problem::new(
                Kind::IdempotencyKeyMissing,
                format!("the route takes no request without {}", self.reader.what()),
            ),
            Ok(identity) => return Ok(identity),
            Err(bad) => Problem::new(Kind::BadRequest, bad.to_string()),
        };
        inlet.metrics.idempotency("refused");
        Err(refused)
    }

    /// Begins the call, or says what is known of it. `id` is its message's, if it is the first.
    pub(super) async fn claim(
        self: &Arc<Self>,
        inlet: &Inlet,
        identity: Identity,
        id: &ShortString,
        own: &CallerIds,
    ) -> Result<Claimed, Problem> {
        let running = self.start(identity).inspect_err(|problem| {
            inlet.metrics.idempotency(match problem.kind {
                Kind::IdempotencyInProgress => "in_progress",
                _ => "conflict",
            });
        })?;
        let begin = Begin {
            key: identity.key,
            fingerprint: identity.fingerprint,
            message_id: id.clone(),
            now: SystemTime::now(),
            ttl: self.ttl,
        };
        let begun = patience::within(self.answers.begin(begin)).await;
        let mine = |message_id: ShortString, taken_over| {
            Claimed::Mine(Claim {
                running,
                message_id,
                taken_over,
            })
        };
        let (outcome, claimed) = match begun {
            Ok(Begun::First) => ("first", Ok(mine(id.clone(), false))),
            Ok(Begun::Unanswered(id)) => ("taken_over", Ok(mine(id, true))),
            Ok(Begun::Answered(answer)) => {
                ("replayed", Ok(Claimed::Answered(self.replay(answer, own))))
            }
            Ok(Begun::Conflict) => ("conflict", Err(conflict())),
            Err(refused) => ("refused", Err(unavailable(inlet, &refused))),
        };
        inlet.metrics.idempotency(outcome);
        claimed
    }

    /// Takes the key's place among the running calls.
    fn start(self: &Arc<Self>, identity: Identity) -> Result<Running, Problem> {
        let mut running = self.running();
        match running.get(&identity.key) {
            Some(first) if *first == identity.fingerprint => Err(Problem::new(
                Kind::IdempotencyInProgress,
                "the first call with this idempotency key has no answer yet",
            )),
            Some(_) => Err(conflict()),
            None => {
                running.insert(identity.key, identity.fingerprint);
                Ok(Running {
                    guard: self.clone(),
                    key: identity.key,
                })
            }
        }
    }

    fn replay(&self, answer: store::Answer, own: &CallerIds) -> Response {
        let held = self.buffer.hold(answer.body.len() as u64);
        let mut response = Response::new(Full::new(hold(answer.body, held)));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        *headers = answer.headers;
        // Each call has its own back.
        own.put(headers);
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Digest, Digest>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.guard.running().remove(&self.key);
    }
}

// === impl Claim ===

impl Claim {
    /// Under which the message is published.
    pub(super) fn message_id(&self) -> &ShortString {
        &self.message_id
    }

    /// Keeps what must be kept, and gives back the answer. A final answer that cannot be kept is
    /// given all the same: it is true, and a repeat is published again as after a crash.
    pub(super) async fn settle(
        self,
        inlet: Arc<Inlet>,
        answered: Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        let settled = match (self.fate(&answered), answered) {
            (Fate::Keep, answered) => {
                let response = answered.unwrap_or_else(Problem::into_response);
                let (response, answer) = copied(response).await;
                let kept = self.finish(answer);
                (patience::within(kept).await, Ok(response))
            }
            (Fate::Release, answered) => (patience::within(self.release()).await, answered),
            (Fate::Leave, answered) => return answered,
        };
        let (kept, answered) = settled;
        if let Err(refused) = kept
            && let Some(unwarned) = inlet.may_warn()
        {
            tracing::warn!(
                route = %inlet.name,
                message_id = self.message_id.as_str(),
                reason = %refused,
                unwarned,
                "the answer to an idempotency key was not kept"
            );
        }
        answered
    }

    fn fate(&self, answered: &Result<Response, Problem>) -> Fate {
        match answered.as_ref().map_err(|problem| problem.kind) {
            // The worker has done its part, though its reply is no response.
            Ok(_) | Err(Kind::BadReply) => Fate::Keep,
            // Whatever this attempt came to, the one before may have published.
            Err(_) if self.taken_over => Fate::Leave,
            Err(kind) if is_certainly_not_published(kind) => Fate::Release,
            Err(_) => Fate::Leave,
        }
    }

    async fn finish(&self, answer: store::Answer) -> Result<(), Refused> {
        let Running { guard, key } = &self.running;
        let id = self.message_id.clone();
        let now = SystemTime::now();
        guard.answers.finish(*key, id, answer, now).await
    }

    async fn release(&self) -> Result<(), Refused> {
        let Running { guard, key } = &self.running;
        guard.answers.release(*key, self.message_id.clone()).await
    }
}

/// Whether a refusal says that no queue has the message.
fn is_certainly_not_published(kind: Kind) -> bool {
    match kind {
        Kind::BadRequest
        | Kind::IdempotencyKeyMissing
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::MethodNotAllowed
        | Kind::BodyTimeout
        | Kind::IdempotencyInProgress
        | Kind::BodyTooLarge
        | Kind::UriTooLong
        | Kind::IdempotencyConflict
        | Kind::RateLimited
        | Kind::HeadersTooLarge
        | Kind::Unroutable
        | Kind::Refused
        | Kind::BrokerUnavailable
        | Kind::BrokerBlocked
        | Kind::IdempotencyFull
        | Kind::Overloaded => true,
        // A queue refused it, others may have it. A disk may fail after it has written, and a
        // full spool is asked after the broker has been.
        Kind::RejectedByBroker
        | Kind::SpoolFull
        | Kind::StoreUnavailable
        | Kind::Internal
        | Kind::BadReply
        | Kind::OutcomeUnknown
        | Kind::ReplyTimeout => false,
    }
}

/// A response, and what is kept of it: the first caller's correlation ids are not another's.
async fn copied(response: Response) -> (Response, store::Answer) {
    let (parts, body) = response.into_parts();
    // A body that is whole is there at once, and cannot fail.
    let body = body.collect().await.unwrap_or_default().to_bytes();
    let mut headers = parts.headers.clone();
    CallerIds::strip(&mut headers);
    let answer = store::Answer {
        status: parts.status,
        headers,
        body: body.clone(),
    };
    (Response::from_parts(parts, Full::new(body)), answer)
}

fn conflict() -> Problem {
    Problem::new(
        Kind::IdempotencyConflict,
        "the idempotency key was used with another method, path, query or body",
    )
}

/// What the caller is told when a key cannot be begun. Nothing has been published.
fn unavailable(inlet: &Inlet, refused: &Refused) -> Problem {
    let (kind, detail) = match refused {
        Refused::Full => (
            Kind::IdempotencyFull,
            "the route's idempotency keys take as much room as they may",
        ),
        // A key that was begun all the same belongs to nobody: a repeat takes it over.
        Refused::Unfit(_) | Refused::Unavailable(_) | Refused::Unknown(_) => (
            Kind::StoreUnavailable,
            "the idempotency key cannot be kept; nothing was published",
        ),
    };
    if let Some(unwarned) = inlet.may_warn() {
        let route = &*inlet.name;
        tracing::warn!(route, reason = %refused, unwarned, "idempotency keys are refused");
    }
    Problem::new(kind, detail)
}
