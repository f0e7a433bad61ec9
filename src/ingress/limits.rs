//! How many calls a route takes, decided from a request's head: nothing is read of one too many.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    config::model,
    policy::Bucket,
    server::{Kind, Problem},
};

/// The limits of one route.
#[derive(Debug)]
pub(super) struct Limits {
    calls: Option<Arc<Semaphore>>,
    rate: Option<Mutex<Bucket>>,
}

/// A call's place among those under way, until it is dropped.
#[derive(Debug)]
#[must_use = "the place is free as soon as this is dropped"]
pub(super) struct Place {
    _calls: Option<OwnedSemaphorePermit>,
}

impl Limits {
    pub(super) fn new(limits: model::Limits) -> Self {
        let calls = limits
            .concurrency
            .map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))));
        let rate = limits
            .rate
            .map(|rate| Mutex::new(Bucket::new(rate.interval, rate.burst)));
        Self { calls, rate }
    }

    /// Takes a place for a call whose head arrived at `now`.
    ///
    /// # Errors
    /// 429, and when to come again. A call refused for one limit does not count towards the other.
    pub(super) fn enter(&self, now: Instant) -> Result<Place, Problem> {
        let calls = match &self.calls {
            None => None,
            Some(calls) => Some(calls.clone().try_acquire_owned().map_err(|_| {
                let detail = "as many calls are under way as the route allows";
                Problem::new(Kind::RateLimited, detail)
            })?),
        };
        if let Some(rate) = &self.rate {
            let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
            rate.try_take(now).map_err(|wait| {
                let detail = "more calls have come than the route allows";
                Problem::new(Kind::RateLimited, detail).retry_after(whole_seconds(wait))
            })?;
        }
        Ok(Place { _calls: calls })
    }
}

/// Never fewer than there are: who comes back too early is refused once more.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(concurrency: Option<usize>, rate: Option<(u64, u32)>) -> Limits {
        let rate = rate.map(|(interval_ms, burst)| model::Rate {
            interval: Duration::from_millis(interval_ms),
            burst,
        });
        Limits::new(model::Limits { concurrency, rate })
    }

    fn refused(limits: &Limits, now: Instant) -> Option<u64> {
        let problem = limits.enter(now).unwrap_err();
        assert_eq!(problem.kind, Kind::RateLimited);
        problem.retry_after
    }

    #[test]
    fn without_limits_there_is_always_a_place() {
        let limits = limits(None, None);
        let now = Instant::now();
        let places: Vec<_> = (0..1000).map(|_| limits.enter(now).unwrap()).collect();
        assert_eq!(places.len(), 1000);
    }

    #[test]
    fn a_place_is_free_again_when_its_call_is_over() {
        let limits = limits(Some(2), None);
        let now = Instant::now();
        let first = limits.enter(now).unwrap();
        let _second = limits.enter(now).unwrap();
        assert_eq!(refused(&limits, now), None, "nobody knows when");
        drop(first);
        let _third = limits.enter(now).unwrap();
        refused(&limits, now);
    }

    #[test]
    fn who_is_too_fast_is_told_when_to_come_again() {
        let start = Instant::now();
        let limits = limits(None, Some((1500, 2)));
        let enter = |after| limits.enter(start + Duration::from_millis(after)).is_ok();
        assert!(enter(0) && enter(0));
        assert_eq!(refused(&limits, start), Some(2));
        let later = start + Duration::from_millis(600);
        assert_eq!(refused(&limits, later), Some(1));
        assert!(enter(1500));
    }

    #[test]
    fn a_call_refused_for_its_rate_keeps_no_place() {
        let limits = limits(Some(1), Some((1000, 1)));
        let now = Instant::now();
        drop(limits.enter(now).unwrap());
        assert!(refused(&limits, now).is_some());
        let later = now + Duration::from_secs(1);
        let _place = limits.enter(later).unwrap();
        // Nor does one refused for want of a place take of the rate.
        assert_eq!(refused(&limits, later + Duration::from_secs(1)), None);
    }
}
