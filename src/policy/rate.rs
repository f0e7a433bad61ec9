//! So many calls in so much time.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket, kept as the time at which it will be full again (the generic cell rate
/// algorithm): no timer refills it.
///
/// In any stretch of time `t` at most `burst + t / interval` calls pass.
#[derive(Debug, Clone)]
pub struct Bucket {
    interval: Duration,
    /// How far ahead of the steady pace calls may be.
    ahead: Duration,
    /// When the next call is due at the steady pace; `None` before the first.
    due: Option<Instant>,
}

impl Bucket {
    /// `interval` is the time between calls at a steady pace; `burst` calls, 1 or more, may come
    /// at once after a pause.
    pub fn new(interval: Duration, burst: u32) -> Self {
        Self {
            interval,
            ahead: interval.saturating_mul(burst.saturating_sub(1)),
            due: None,
        }
    }

    /// How long from `now` until there is a call's share.
    pub fn wait(&self, now: Instant) -> Duration {
        self.due(now).duration_since(now).saturating_sub(self.ahead)
    }

    /// Takes one call's share.
    ///
    /// # Errors
    /// How long from `now` until there is one, never zero; nothing is taken.
    pub fn try_take(&mut self, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(now);
        if wait.is_zero() {
            self.take(now);
            Ok(())
        } else {
            Err(wait)
        }
    }

    fn take(&mut self, now: Instant) {
        self.due = Some(self.due(now) + self.interval);
    }

    fn due(&self, now: Instant) -> Instant {
        self.due.map_or(now, |due| due.max(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_and_then_one_each_interval() {
        let start = Instant::now();
        let mut bucket = Bucket::new(ms(100), 3);
        let at = |after| start + ms(after);
        for _ in 0..3 {
            assert_eq!(bucket.try_take(at(0)), Ok(()));
        }
        assert_eq!(bucket.try_take(at(0)), Err(ms(100)));
        assert_eq!(bucket.try_take(at(40)), Err(ms(60)));
        assert_eq!(bucket.try_take(at(100)), Ok(()));
        assert_eq!(bucket.try_take(at(100)), Err(ms(100)));
        // A long pause fills it, and no more than that.
        for _ in 0..3 {
            assert_eq!(bucket.try_take(at(10_000)), Ok(()));
        }
        assert_eq!(bucket.try_take(at(10_000)), Err(ms(100)));
    }

    #[test]
    fn no_interval_and_no_burst_is_too_long() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Duration::from_secs(86_400), u32::MAX);
        for _ in 0..1000 {
            assert_eq!(bucket.try_take(now), Ok(()));
        }
    }

    proptest! {
        /// Whoever comes when, no window of time lets more pass than it may, and whoever is told
        /// to come later passes when he does.
        #[test]
        fn no_window_lets_too_many_pass(
            interval in 1u64..500,
            burst in 1u32..10,
            pauses in prop::collection::vec(0u64..700, 1..80),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(ms(interval), burst);
            let mut now = 0;
            let mut passed: Vec<u64> = Vec::new();
            for pause in pauses {
                now += pause;
                match bucket.try_take(start + ms(now)) {
                    Ok(()) => passed.push(now),
                    Err(later) => {
                        prop_assert!(!later.is_zero() && later <= ms(interval));
                        let mut patient = bucket.clone();
                        prop_assert_eq!(patient.try_take(start + ms(now) + later), Ok(()));
                        let mut hasty = bucket.clone();
                        let early = later - Duration::from_nanos(1);
                        prop_assert!(hasty.try_take(start + ms(now) + early).is_err());
                    }
                }
            }
            for (index, from) in passed.iter().enumerate() {
                for (count, to) in (1..).zip(&passed[index..]) {
                    let most = u64::from(burst) + (to - from) / interval;
                    prop_assert!(count <= most, "{passed:?}");
                }
            }
        }

        /// Those who wait as long as they are told go one by one, exactly an interval apart once
        /// the burst is over.
        #[test]
        fn patience_is_evenly_rewarded(
            interval in 1u64..500,
            burst in 1u32..10,
            count in 1u64..60,
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(ms(interval), burst);
            let mut now = start;
            for turn in 1..=count {
                now += bucket.wait(now);
                prop_assert_eq!(bucket.try_take(now), Ok(()));
                let late = turn.saturating_sub(u64::from(burst));
                prop_assert_eq!(now, start + ms(interval * late));
            }
        }
    }
}
