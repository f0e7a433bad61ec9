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
        let full = doubled.min(self.max);
        full.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    /// Starts again from the first pause: call it once things have gone well for a while.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}
