//! Confirmed publishing: every publish ends in one exact [`Outcome`].
//!
//! Requests wait in one bounded queue. Each lane is a task that owns one confirm-mode channel,
//! takes a window of requests from the queue, writes them in order, awaits all their confirms and
//! only then matches the returned messages.

#![allow(
    clippy::vec_box,
    reason = "requests are large, and go from vector to vector on their way"
)]

mod lane;
mod ordered;
mod window;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

pub(super) use lane::{Lane, Requests};

use crate::message::Publish;

/// What became of a publish. Only [`Outcome::Routed`] is success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Confirmed by the broker and in at least one queue.
    Routed,
    /// Confirmed by the broker, but returned: no queue took it, or the exchange does not exist.
    Unroutable,
    /// The broker refused it: a queue is full (`x-overflow: reject-publish`).
    Nacked,
    /// Larger than the broker allows.
    TooLarge,
    /// The broker closed the channel over this publish, for this reason.
    Refused(String),
    /// No confirm in time, or the connection broke between write and confirm: it may exist.
    Unknown,
    /// Not written: the broker is not connected.
    Unavailable,
    /// Not written: the broker blocks publishers (memory or disk alarm).
    Blocked,
    /// Not written: as many publishes as the limit allows are under way.
    Overloaded,
}

/// Whether publishing is possible at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Open,
    Down,
    Blocked,
}

/// A handle to publish with; clones share the lanes.
#[derive(Debug, Clone)]
pub struct Publisher {
    queue: mpsc::Sender<Unit>,
    gate: watch::Receiver<Gate>,
    in_flight: Arc<Semaphore>,
    limit: usize,
}

/// A publish that a lane has, or will have, unless it is too late for it.
#[must_use = "the outcome is known only to who waits for it"]
pub struct Begun {
    outcome: oneshot::Receiver<Outcome>,
    deadline: Instant,
}

/// What a lane takes from the queue as a whole. Requests are boxed: they are large, and change
/// hands often.
pub(super) enum Unit {
    One(Box<Request>),
    /// Written by one lane, one after the other, in one window.
    Ordered(Vec<Box<Request>>),
}

/// A publish on its way to a lane.
pub(super) struct Request {
    pub(super) publish: Publish,
    pub(super) deadline: Instant,
    answer: oneshot::Sender<Outcome>,
    _permit: OwnedSemaphorePermit,
}

impl Outcome {
    /// The label of `hareway_published_total`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Unroutable => "unroutable",
            Self::Nacked => "nacked",
            Self::TooLarge => "too_large",
            Self::Refused(_) => "refused",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
            Self::Blocked => "blocked",
            Self::Overloaded => "overloaded",
        }
    }
}

// === impl Publisher ===

impl Publisher {
    /// The handle, and the queue from which lanes take.
    pub(super) fn new(limit: usize, gate: watch::Receiver<Gate>) -> (Self, mpsc::Receiver<Unit>) {
        let (queue, requests) = mpsc::channel(limit);
        (
            Self {
                queue,
                gate,
                in_flight: Arc::new(Semaphore::new(limit)),
                limit,
            },
            requests,
        )
    }

    /// Publishes and waits at most `timeout` for the outcome.
    ///
    /// Dropping the future does not take back a publish that has begun.
    pub async fn publish(&self, publish: Publish, timeout: Duration) -> Outcome {
        match self.begin(publish, timeout) {
            Ok(begun) => begun.outcome().await,
            Err(outcome) => outcome,
        }
    }

    /// Hands a publish to the lanes. From here on it goes its way whether anybody waits for its
    /// outcome, which is known after `timeout` at the latest, or not.
    ///
    /// # Errors
    /// What it has come to at once.
    pub fn begin(&self, publish: Publish, timeout: Duration) -> Result<Begun, Outcome> {
        if let Some(closed) = self.closed() {
            return Err(closed);
        }
        let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
            return Err(Outcome::Overloaded);
        };
        let deadline = Instant::now() + timeout;
        let (request, outcome) = Request::new(publish, deadline, permit);
        if self.queue.try_send(Unit::One(request)).is_err() {
            return Err(Outcome::Unavailable);
        }
        Ok(Begun { outcome, deadline })
    }

    /// From 0 to 1: how much of the in-flight limit is used.
    pub fn used_ratio(&self) -> f64 {
        let used = self
            .limit
            .saturating_sub(self.in_flight.available_permits());
        used as f64 / self.limit.max(1) as f64
    }

    /// Whether publishing is possible at this moment.
    pub fn gate(&self) -> Gate {
        *self.gate.borrow()
    }

    /// Resolves when publishing is possible; never, once the broker's side has ended.
    pub async fn opened(&self) {
        let mut gate = self.gate.clone();
        if gate.wait_for(|gate| *gate == Gate::Open).await.is_err() {
            std::future::pending().await
        }
    }

    /// What every publish comes to while the gate is not open.
    fn closed(&self) -> Option<Outcome> {
        match self.gate() {
            Gate::Open => None,
            Gate::Down => Some(Outcome::Unavailable),
            Gate::Blocked => Some(Outcome::Blocked),
        }
    }
}

// === impl Begun ===

impl Begun {
    /// The outcome, at the deadline at the latest.
    pub async fn outcome(self) -> Outcome {
        match timeout_at(self.deadline, self.outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        }
    }
}

// === impl Request ===

impl Unit {
    /// The publishes of the unit, in order.
    pub(super) fn into_requests(self) -> impl Iterator<Item = Box<Request>> {
        let (one, ordered) = match self {
            Self::One(request) => (Some(request), Vec::new()),
            Self::Ordered(requests) => (None, requests),
        };
        one.into_iter().chain(ordered)
    }
}

impl Request {
    fn new(
        publish: Publish,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> (Box<Self>, oneshot::Receiver<Outcome>) {
        let (answer, outcome) = oneshot::channel();
        let request = Box::new(Self {
            publish,
            deadline,
            answer,
            _permit: permit,
        });
        (request, outcome)
    }

    /// A request that nobody waits for, told apart by its routing key.
    #[cfg(test)]
    pub(super) fn for_test(routing_key: &str) -> Box<Self> {
        let permit = Arc::new(Semaphore::new(1))
            .try_acquire_owned()
            .expect("a permit");
        let publish = Publish {
            exchange: lapin::types::ShortString::default(),
            routing_key: routing_key.into(),
            properties: lapin::BasicProperties::default(),
            body: bytes::Bytes::new(),
        };
        Box::new(Self {
            publish,
            deadline: Instant::now(),
            answer: oneshot::channel().0,
            _permit: permit,
        })
    }

    /// Tells the requester; it may have gone, which is no matter.
    pub(super) fn answer(self, outcome: Outcome) {
        drop(self.answer.send(outcome));
    }
}
