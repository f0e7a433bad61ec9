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

    /// Waits for the next turn; `false` when `stop` came first. Turns that were missed are not
    /// made up for.
    pub(super) async fn turn(&mut self, stop: &CancellationToken) -> bool {
        let Some(Pace(interval)) = self.pace else {
            return !stop.is_cancelled();
        };
        let go = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = tokio::time::sleep_until(self.next) => true,
        };
        self.next = self.next.max(Instant::now()) + interval;
        go
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
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(60)).await;
        let late = Instant::now();
        assert!(paced.turn(&stop).await);
        assert!(paced.turn(&stop).await);
        assert_eq!(late.elapsed(), Duration::from_millis(500));
        stop.cancel();
        assert!(!paced.turn(&stop).await);
    }
}
