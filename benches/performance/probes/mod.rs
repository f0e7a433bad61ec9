//! What is measured beside the flows' rates: memory with much of everything, and times to begin.

mod backlog;
mod held;
mod long_spool;
mod outage;
mod start;

pub(crate) use backlog::backlogs;
pub(crate) use held::held;
pub(crate) use long_spool::long_spool;
pub(crate) use outage::outages;
pub(crate) use start::{check_seconds, starts};

use std::{fs, path::Path, time::Duration};

use tokio::time::{Instant, sleep};

use crate::subject::Started;

/// Without one message that leaves the spool.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(60);
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// Waits until a bridge's spool is empty, from a moment on when all `full` messages are in it;
/// `look` has their number. Gives the time from the first that is gone.
async fn drain(
    bridge: &Started,
    full: u64,
    mut look: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let mut begin = Instant::now();
    let mut last = (full, begin);
    loop {
        let before = Instant::now();
        let now = waiting(bridge).await?;
        // Until the first of them is gone, the broker is awaited.
        if now == full {
            begin = before;
        }
        look(now)?;
        if now == 0 {
            return Ok(begin.elapsed());
        }
        if now < last.0 {
            last = (now, before);
        }
        let standstill = last.1.elapsed() > STANDSTILL_LIMIT;
        anyhow::ensure!(!standstill, "{now} stay in the spool");
        sleep(DRAIN_LOOK).await;
    }
}

async fn waiting(bridge: &Started) -> anyhow::Result<u64> {
    Ok(bridge.metric("hareway_spool_messages").await? as u64)
}

/// The length of the store of a bridge that runs in `dir`.
fn file_mib(dir: &Path) -> anyhow::Result<f64> {
    let file = fs::metadata(dir.join("store/hareway.redb"))?;
    Ok(file.len() as f64 / f64::from(1 << 20))
}
