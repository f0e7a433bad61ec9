//! How fast messages are replayed.

use std::{str::FromStr, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So many messages in a second, a minute or an hour, evenly spread: `50/s`, `10/m`, `1/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace(Duration);

/// Not a pace.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a rate: write `50/s`, `10/m` or `1/h`")]
pub struct InvalidPace(String);

impl FromStr for Pace {
    type Err = InvalidPace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (count, unit) = text.split_once('/')?;
            let digits = count.bytes().all(|byte| byte.is_ascii_digit());
            let count: u32 = digits.then(|| count.parse().ok())??;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            Duration::from_secs(seconds).checked_div(count).map(Self)
        };
        parse().ok_or_else(|| InvalidPace(text.to_owned()))
    }
}

/// The next moment at which a message may go.
#[derive(Debug)]
pub(super) struct Paced {
    pace: Option<Pace>,
    next: Instant,
}

impl Paced {
    pub(super) fn new(pace: Option<Pace>) -> Self {
        let next = Instant::now();
        Self { pace, next }
    }

    pub(super) fn is_set(&self) -> bool {
        self.pace.is_some()
    }

    /// Until the next turn; zero when it has come.
    pub(super) fn wait(&self) -> Duration {
        match self.pace {
            Some(_) => self.next.saturating_duration_since(Instant::now()),
            None => Duration::ZERO,
        }
    }

    /// Waits for the next turn; `false` when `stop` came first.
    pub(super) async fn turn(&self, stop: &CancellationToken) -> bool {
        if self.pace.is_none() {
            return !stop.is_cancelled();
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = tokio::time::sleep_until(self.next) => true,
        }
    }

    /// Takes the turn. Turns that were missed are not made up for.
    pub(super) fn take(&mut self) {
        if let Some(Pace(interval)) = self.pace {
            self.next = self.next.max(Instant::now()) + interval;
        }
    }

    /// How many turns can be taken within `time`, from now on.
    pub(super) fn turns(&self, time: Duration) -> u64 {
        let Some(Pace(interval)) = self.pace else {
            return u64::MAX;
        };
        let turns = time.as_nanos() / interval.as_nanos().max(1);
        u64::try_from(turns).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let pace = |text: &str| text.parse::<Pace>();
        assert_eq!(pace("50/s"), Ok(Pace(Duration::from_millis(20))));
        assert_eq!(pace("1/h"), Ok(Pace(Duration::from_secs(3600))));
        assert_eq!(pace("6/m"), Ok(Pace(Duration::from_secs(10))));
        for wrong in [
            "", "50", "0/s", "-1/s", "+1/s", "1/d", "x/s", "/s", "1.5/s", "1/s ",
        ] {
            assert_eq!(pace(wrong), Err(InvalidPace(wrong.to_owned())), "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_evenly_spread_and_missed_ones_are_gone() {
        let stop = CancellationToken::new();
        let mut paced = Paced::new("2/s".parse().ok());
        let start = Instant::now();
        for _ in 0..3 {
            assert!(paced.turn(&stop).await);
            paced.take();
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(paced.wait(), Duration::from_millis(500));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(paced.wait(), Duration::ZERO);
        let late = Instant::now();
        for _ in 0..2 {
            assert!(paced.turn(&stop).await);
            paced.take();
        }
        assert_eq!(late.elapsed(), Duration::from_millis(500));
        stop.cancel();
        assert!(!paced.turn(&stop).await);
    }

    #[test]
    fn turns_are_counted_ahead() {
        let turns = |text: &str| Paced::new(text.parse().ok()).turns(Duration::from_secs(240));
        assert_eq!(turns("4/h"), 1);
        assert_eq!(turns("1/m"), 5);
        assert_eq!(turns("50/s"), 12_001);
        assert_eq!(turns("none"), u64::MAX);
    }
}
