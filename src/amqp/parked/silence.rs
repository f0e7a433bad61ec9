//! When nothing comes: whether the queue is at its end, or somebody else has it.

use std::time::Duration;

use tokio::time::Instant;

/// When nothing has come for so long, the queue is asked whether there is more.
pub(super) const QUIET: Duration = Duration::from_millis(250);
/// An empty queue may still have a delivery on its way.
const EMPTY: Duration = Duration::from_secs(2);
/// After so long without a delivery nothing is waited for, whatever the queue says meanwhile.
const STALLED: Duration = Duration::from_secs(15);

/// The time since the last delivery.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
    empty_since: Option<Instant>,
}

/// What a silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silent {
    /// Nothing yet.
    Wait,
    /// The queue is empty.
    Over,
    /// It is not, and yet nothing comes.
    Stalled,
}

impl Silence {
    pub(super) fn begin() -> Self {
        Self {
            since: Instant::now(),
            empty_since: None,
        }
    }

    /// With so many messages ready in the queue at this moment.
    pub(super) fn with(&mut self, ready: u32) -> Silent {
        let now = Instant::now();
        if ready > 0 {
            self.empty_since = None;
            // Being empty now and then does not count: somebody else may be emptying it.
            return match now - self.since > STALLED {
                true => Silent::Stalled,
                false => Silent::Wait,
            };
        }
        let since = *self.empty_since.get_or_insert(now);
        match now - since > EMPTY {
            true => Silent::Over,
            false => Silent::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How it ends, and after how long, with a queue that has these numbers ready by turns.
    async fn ends(ready: &[u32]) -> (Silent, Duration) {
        let mut silence = Silence::begin();
        let begun = Instant::now();
        for ready in ready.iter().cycle().take(10_000) {
            tokio::time::advance(QUIET).await;
            match silence.with(*ready) {
                Silent::Wait => {}
                ended => return (ended, begun.elapsed()),
            }
        }
        panic!("no end in {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn every_silence_ends() {
        let soon = STALLED + EMPTY + QUIET;
        for (ready, expected) in [
            (&[0][..], Silent::Over),
            (&[5], Silent::Stalled),
            // Another consumer empties it, and producers fill it.
            (&[0, 5], Silent::Stalled),
            (&[5, 0, 0, 0, 0, 0, 0, 0], Silent::Stalled),
        ] {
            let (ended, after) = ends(ready).await;
            assert_eq!(ended, expected, "{ready:?}");
            assert!(after <= soon, "{ready:?}: {after:?}");
        }
    }
}
