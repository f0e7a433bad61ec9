//! Pauses that grow: capped, jittered exponential backoff.

use std::time::Duration;

/// Doubles from `first` to `max`; each pause is drawn between half of that and the whole.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
    random: fastrand::Rng,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Self {
        Self::with_random(first, max, fastrand::Rng::new())
    }

    /// With a seeded generator, for tests.
    pub fn with_random(first: Duration, max: Duration, random: fastrand::Rng) -> Self {
        Self {
            first,
            max,
            attempt: 0,
            random,
        }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(2u32.saturating_pow(self.attempt));
        self.attempt = self.attempt.saturating_add(1);
        let half = doubled.min(self.max) / 2;
        half + half.mul_f64(self.random.f64())
    }

    /// Starts again from the first pause: call it once things have gone well for a while.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backoff(first: Duration, max: Duration, seed: u64) -> Backoff {
        Backoff::with_random(first, max, fastrand::Rng::with_seed(seed))
    }

    proptest! {
        /// Each pause lies between half of the doubled one and the whole, and never beyond `max`.
        #[test]
        fn pauses_double_up_to_the_longest(
            first_ms in 1u64..10_000,
            factor in 1u32..1000,
            seed in any::<u64>(),
        ) {
            let first = Duration::from_millis(first_ms);
            let max = first * factor;
            let mut backoff = backoff(first, max, seed);
            let mut full = first;
            for _ in 0..40 {
                let pause = backoff.next_pause();
                prop_assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
                full = (full * 2).min(max);
            }
            backoff.reset();
            prop_assert!(backoff.next_pause() <= first);
        }

        #[test]
        fn no_duration_is_too_long(first in any::<Duration>(), max in any::<Duration>()) {
            let mut backoff = backoff(first, max, 1);
            for _ in 0..40 {
                prop_assert!(backoff.next_pause() <= max);
            }
        }
    }

    #[test]
    fn two_processes_do_not_pause_in_step() {
        let max = Duration::from_secs(10);
        let pauses = |seed| backoff(max, max, seed).next_pause();
        assert_ne!(pauses(1), pauses(2));
    }
}
