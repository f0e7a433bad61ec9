//! What stands around a route: what it does when the broker or a backend is away, when a call is
//! repeated, and when there are too many.

use std::time::Duration;

use crate::{policy::StatusSet, template::Template};

/// The outbox of an accept route: where its messages wait while the broker does not take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// The most that the route's waiting messages may take on disk, in bytes; beyond it 503.
    pub max_bytes: u64,
    /// A message that has waited longer is set apart, to be looked at; `None`: it waits for ever.
    pub max_age: Option<Duration>,
}

/// How repeated calls are recognised and answered.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The key of a request; empty or missing where it has none.
    pub key: Template,
    /// Whose key it is: keys of different scopes never meet. `None`: the route's.
    pub scope: Option<Template>,
    /// Whether a request without a key is refused.
    pub required: bool,
    /// How long the first answer is kept.
    pub ttl: Duration,
    /// The most that the route's keys and answers may take on disk, in bytes; beyond it 503.
    pub max_bytes: u64,
}

/// How many calls a route takes or makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Calls under way at once.
    pub concurrency: Option<usize>,
    pub rate: Option<Rate>,
}

/// So many calls in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The time from one call to the next at a steady pace.
    pub interval: Duration,
    /// Calls that may come at once after a pause. Never 0.
    pub burst: u32,
}

/// When a backend counts as down, and how it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// Consecutive outcomes of `on` after which the circuit opens. Never 0.
    pub failures: u32,
    pub on: CircuitOn,
    /// From opening to the first probe; doubled with every probe that fails.
    pub pause: Duration,
    /// The longest pause between two probes.
    pub pause_max: Duration,
}

/// Outcomes that say that the backend is down, rather than that a message is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitOn {
    /// No connection: refused, unreachable, no such host.
    pub connect: bool,
    /// No answer within the route's time.
    pub timeout: bool,
    pub statuses: StatusSet,
}
