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
    /// `at_least` is what the backend asked for (`Retry-After`): the first delay at least that
    /// long is used, or the longest where none is.
    pub fn next(
        &self,
        attempts: u32,
        age: Duration,
        at_least: Option<Duration>,
    ) -> Option<Duration> {
        let spent = attempts.saturating_sub(1) as usize;
        let step = match (self.delays.get(spent), self.lasts) {
            (Some(delay), None) => *delay,
            (found, Some(lasts)) => {
                let delay = found.or(self.delays.last()).copied()?;
                if age.checked_add(delay)? > lasts {
                    return None;
                }
                delay
            }
            (None, None) => return None,
        };
        let wanted = at_least.unwrap_or_default().max(step);
        let longest = self.delays.iter().max().copied()?;
        Some(
            self.delays
                .iter()
                .copied()
                .filter(|delay| *delay >= wanted)
                .min()
                .unwrap_or(longest),
        )
    }
}
