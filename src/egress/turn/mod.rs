//! What stands before each call of a route's backend: the circuit, the pace, and the time for which
//! a message may be held.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    forwarder::Job,
    gate::{Gate, Pass},
};
use crate::{
    config::model::{Deliver, Rate},
    policy::{Bucket, patience},
};

/// Timers are no finer than a millisecond: calls may be this much ahead of an even pace, or a fast
/// pace would become the timer's.
const JITTER: Duration = Duration::from_millis(10);

/// The guards of one route.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) gate: Option<Gate>,
    pace: Option<Pace>,
    hold: Duration,
}

/// An even pace, in the order in which calls come.
#[derive(Debug)]
struct Pace {
    bucket: Mutex<Bucket>,
    /// Only whoever holds it waits for the next share, and takes it.
    line: tokio::sync::Mutex<()>,
}

/// Why a message that waits for its call has to go without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It has been held for as long as it may.
    Held,
    /// The process is going down.
    Draining,
    /// Its channel is gone: the broker has requeued it.
    Lost,
}

/// The backend counts as down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Down {
    /// When it is tried again; `None` while it is being tried.
    pub(super) until: Option<Instant>,
}

// === impl Guards ===

impl Guards {
    pub(super) fn new(deliver: &Deliver, gate: Option<Gate>) -> Self {
        Self {
            gate,
            pace: deliver.limits.rate.map(Pace::new),
            hold: patience::hold(deliver.target.timeout),
        }
    }

    /// Waits until the backend may be called for this message.
    pub(super) async fn turn(
        &self,
        job: &Job,
        drain: &CancellationToken,
    ) -> Result<Option<Pass<'_>>, Leave> {
        let until = job.received + self.hold;
        let turn = async {
            loop {
                let pass = match &self.gate {
                    Some(gate) => Some(gate.pass().await),
                    None => None,
                };
                if self.paced(pass.as_ref(), until).await {
                    return pass;
                }
            }
        };
        unless_it_leaves(job, drain, until, turn).await
    }

    /// As [`Guards::turn`], for a message that does not wait for a backend to come back.
    pub(super) async fn turn_now(
        &self,
        job: &Job,
        drain: &CancellationToken,
    ) -> Result<Result<Option<Pass<'_>>, Down>, Leave> {
        let until = job.received + self.hold;
        let turn = async {
            loop {
                let pass = match &self.gate {
                    Some(gate) => Some(gate.try_pass().map_err(|until| Down { until })?),
                    None => None,
                };
                if self.paced(pass.as_ref(), until).await {
                    return Ok(pass);
                }
            }
        };
        unless_it_leaves(job, drain, until, turn).await
    }

    /// Keeps the pace. `false`: the circuit has changed meanwhile, and the pass is worth nothing.
    async fn paced(&self, pass: Option<&Pass<'_>>, until: Instant) -> bool {
        let holds = || pass.is_none_or(Pass::holds);
        let Some(pace) = &self.pace else {
            return holds();
        };
        let _first = pace.line.lock().await;
        if !holds() {
            return false;
        }
        let share = pace.next();
        if share >= until {
            // It would come too late, so it is somebody else's.
            std::future::pending::<()>().await;
        }
        sleep_until(share).await;
        if !holds() {
            return false;
        }
        pace.take(share);
        true
    }
}

async fn unless_it_leaves<T>(
    job: &Job,
    drain: &CancellationToken,
    until: Instant,
    turn: impl Future<Output = T>,
) -> Result<T, Leave> {
    if Instant::now() >= until {
        return Err(Leave::Held);
    }
    tokio::select! {
        biased;
        turn = turn => Ok(turn),
        () = job.settle.lost() => Err(Leave::Lost),
        () = drain.cancelled() => Err(Leave::Draining),
        () = sleep_until(until) => Err(Leave::Held),
    }
}

// === impl Pace ===

impl Pace {
    fn new(rate: Rate) -> Self {
        let ahead = JITTER.as_nanos() / rate.interval.as_nanos().max(1);
        let burst = rate.burst.max(u32::try_from(ahead).unwrap_or(u32::MAX));
        Self {
            bucket: Mutex::new(Bucket::new(rate.interval, burst)),
            line: tokio::sync::Mutex::default(),
        }
    }

    /// When the next share comes. Nothing is taken: whoever leaves meanwhile leaves it to the next.
    fn next(&self) -> Instant {
        let now = Instant::now();
        now + self.bucket().wait(now)
    }

    /// Takes the share that has come at `at`; later is as good, so that a late timer does not slow
    /// the pace.
    fn take(&self, at: Instant) {
        // Only whoever is first in the line takes, so it is there.
        self.bucket().try_take(at).ok();
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
