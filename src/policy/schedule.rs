//! When a failed delivery is tried again.

use std::time::Duration;

/// The delays between attempts, and how long they go on.
///
/// The delays are used in order. The last one repeats until `lasts` has passed since the first
/// failure; without `lasts` each is used once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    delays: Vec<Duration>,
    lasts: Option<Duration>,
}

impl Schedule {
    /// `delays` must not be empty.
    pub fn new(delays: Vec<Duration>, lasts: Option<Duration>) -> Option<Self> {
        (!delays.is_empty()).then_some(Self { delays, lasts })
    }

    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    pub fn lasts(&self) -> Option<Duration> {
        self.lasts
    }

    /// The pause before the next attempt, or `None` when the message has had its last one.
    ///
    /// `attempts` counts those already made, 1 or more; `age` is the time since the first failure;
    /// `at_least` is what the backend asked for (`Retry-After`): the shortest delay at least that
    /// long is used, or the longest where none is. No attempt begins after `lasts`.
    pub fn next(
        &self,
        attempts: u32,
        age: Duration,
        at_least: Option<Duration>,
    ) -> Option<Duration> {
        let spent = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let step = match self.delays.get(spent) {
            Some(delay) => *delay,
            None if self.lasts.is_some() => *self.delays.last()?,
            None => return None,
        };
        let wanted = at_least.unwrap_or_default().max(step);
        let enough = self.delays.iter().filter(|delay| **delay >= wanted).min();
        let delay = *enough.or(self.delays.iter().max())?;
        let in_time = |lasts| age.checked_add(delay).is_some_and(|then| then <= lasts);
        self.lasts.is_none_or(in_time).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule(delays: &[u64], lasts: Option<u64>) -> Schedule {
        let delays = delays.iter().copied().map(seconds).collect();
        Schedule::new(delays, lasts.map(seconds)).unwrap()
    }

    fn next(schedule: &Schedule, attempts: u32, age: u64, at_least: Option<u64>) -> Option<u64> {
        let delay = schedule.next(attempts, seconds(age), at_least.map(seconds));
        delay.map(|delay| delay.as_secs())
    }

    #[test]
    fn without_delays_there_is_no_schedule() {
        assert_eq!(Schedule::new(Vec::new(), Some(seconds(1))), None);
    }

    #[test]
    fn each_delay_is_used_once_in_its_order() {
        let schedule = schedule(&[1, 10, 5], None);
        let all: Vec<_> = (1..6)
            .map(|attempts| next(&schedule, attempts, 0, None))
            .collect();
        assert_eq!(all, [Some(1), Some(10), Some(5), None, None]);
        assert_eq!(next(&schedule, 0, 0, None), Some(1));
    }

    #[test]
    fn the_last_delay_repeats_until_the_time_is_over() {
        let schedule = schedule(&[1, 10], Some(60));
        assert_eq!(next(&schedule, 9, 50, None), Some(10));
        assert_eq!(next(&schedule, 9, 51, None), None);
        assert_eq!(next(&schedule, 1, 59, None), Some(1));
        assert_eq!(next(&schedule, 1, 59, Some(2)), None);
    }

    #[test]
    fn what_the_backend_asks_for_only_ever_lengthens() {
        let schedule = schedule(&[1, 10, 60], None);
        assert_eq!(next(&schedule, 1, 0, Some(2)), Some(10));
        assert_eq!(next(&schedule, 1, 0, Some(10)), Some(10));
        assert_eq!(next(&schedule, 3, 0, Some(2)), Some(60));
        assert_eq!(next(&schedule, 1, 0, Some(u64::MAX)), Some(60));
    }

    proptest! {
        #[test]
        fn a_delay_is_one_of_the_tiers_and_in_time(
            delays in prop::collection::vec(0u64..10_000, 1..8),
            lasts in prop::option::of(0u64..100_000),
            attempts in 0u32..20,
            age in 0u64..200_000,
            at_least in prop::option::of(any::<u64>()),
        ) {
            let schedule = schedule(&delays, lasts);
            let plain = next(&schedule, attempts, age, None);
            let asked = next(&schedule, attempts, age, at_least);
            for delay in [plain, asked].into_iter().flatten() {
                prop_assert!(delays.contains(&delay));
                prop_assert!(lasts.is_none_or(|lasts| age + delay <= lasts));
            }
            if let (Some(plain), Some(asked)) = (plain, asked) {
                prop_assert!(asked >= plain);
                let longest = delays.iter().copied().max().unwrap();
                prop_assert!(asked >= at_least.unwrap_or(0).min(longest));
            }
            if lasts.is_none() {
                let left = attempts.saturating_sub(1) < delays.len() as u32;
                prop_assert_eq!(asked.is_some(), left);
            }
        }

        #[test]
        fn every_schedule_ends(
            delays in prop::collection::vec(1u64..1000, 1..6),
            lasts in prop::option::of(1u64..10_000),
        ) {
            let schedule = schedule(&delays, lasts);
            let (mut attempts, mut age) = (1, 0);
            while let Some(delay) = next(&schedule, attempts, age, None) {
                attempts += 1;
                age += delay;
                prop_assert!(attempts < 20_000);
            }
        }
    }
}
