//! Forgets what has expired, a little at a time.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::tables;
use crate::store::{Refused, Store, command::Effect, record::microseconds};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most records of one transaction: others wait for it meanwhile.
const PORTION: usize = 256;

impl Store {
    /// Sweeps now and then, until `stop`.
    pub async fn sweep_answers(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(INTERVAL) => {}
            }
            // A store that is unavailable says so itself, and is swept when it is back.
            while let Ok(true) = self.sweep_due(SystemTime::now()).await {
                if stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// As [`Store::sweep`], and spares an idle disk the commit.
    pub(super) async fn sweep_due(&self, now: SystemTime) -> Result<bool, Refused> {
        let until = microseconds(now);
        let look = move |transaction: &_| tables::is_due(transaction, until);
        if !self.commands.read(look).await? {
            return Ok(false);
        }
        self.sweep(now).await
    }

    /// Forgets some of what has expired at `now`, on routes that are no longer configured as well.
    /// Whether there may be more.
    pub(in crate::store) async fn sweep(&self, now: SystemTime) -> Result<bool, Refused> {
        let now = microseconds(now);
        let state = self.state.clone();
        let swept = self
            .commands
            .write(
                Effect::Frees,
                0,
                move |tables| tables.answers()?.sweep(now, PORTION),
                move |swept| {
                    for (route, kept) in &swept.changed {
                        state.answers.of(route).set(*kept);
                    }
                },
            )
            .await?;
        Ok(swept.more)
    }
}
