//! A closed loop: each caller has one call under way, always.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep_until, timeout},
};

use crate::{errors::Errors, model::Latency};

/// What makes one call after the other.
pub(crate) trait Caller: Send + 'static {
    /// Fails where the call did not succeed; the next one follows all the same.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What came back.
#[derive(Default)]
pub(crate) struct Answered {
    /// Microseconds of the good calls that ended within the measured time, sorted.
    pub(crate) latencies: Vec<u32>,
    /// Good calls, those before and after the measured time too.
    pub(crate) good: u64,
    pub(crate) errors: Errors,
}

/// How long to call.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// Longer than any time-out of what is measured.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

// === impl Timing ===

impl Timing {
    pub(crate) fn half(self) -> Self {
        Self {
            warm_up: self.warm_up / 2,
            measured: self.measured / 2,
        }
    }
}

/// Lets all callers call; `sample` is called at the beginning and at the end of the measured time.
pub(crate) async fn run(
    callers: Vec<impl Caller>,
    timing: Timing,
    mut sample: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Answered> {
    let from = Instant::now() + timing.warm_up;
    let until = from + timing.measured;
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(call(caller, from, until));
    }
    sleep_until(from).await;
    sample()?;
    sleep_until(until).await;
    sample()?;
    let mut all = Answered::default();
    while let Some(one) = tasks.join_next().await {
        let one = one?;
        all.latencies.extend(one.latencies);
        all.good += one.good;
        all.errors.merge(one.errors);
    }
    all.latencies.sort_unstable();
    Ok(all)
}

/// Lets all callers call until `total` calls were made; `look` is called about ten times a second,
/// with the number of good ones.
pub(crate) async fn count(
    callers: Vec<impl Caller>,
    total: u64,
    mut look: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<Errors> {
    let (begun, good) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let (begun, good) = (begun.clone(), good.clone());
        tasks.spawn(async move {
            let mut errors = Errors::default();
            while begun.fetch_add(1, Relaxed) < total {
                match timeout(ANSWER_LIMIT, caller.call()).await {
                    Ok(Ok(())) => {
                        good.fetch_add(1, Relaxed);
                    }
                    Ok(Err(error)) => errors.add(1, || format!("{error:#}")),
                    Err(_) => errors.add(1, || "no answer".to_owned()),
                }
            }
            errors
        });
    }
    let mut errors = Errors::default();
    let mut ticks = interval(LOOK_EVERY);
    loop {
        tokio::select! {
            one = tasks.join_next() => match one {
                Some(one) => errors.merge(one?),
                None => break,
            },
            _ = ticks.tick() => look(good.load(Relaxed))?,
        }
    }
    look(good.load(Relaxed))?;
    Ok(errors)
}

async fn call(mut caller: impl Caller, from: Instant, until: Instant) -> Answered {
    let mut answered = Answered::default();
    while Instant::now() < until {
        let begin = Instant::now();
        let outcome = timeout(ANSWER_LIMIT, caller.call()).await;
        let end = Instant::now();
        match outcome {
            Ok(Ok(())) => {
                answered.good += 1;
                if end >= from && end < until {
                    let micros = (end - begin).as_micros();
                    answered
                        .latencies
                        .push(micros.try_into().unwrap_or(u32::MAX));
                }
            }
            Ok(Err(error)) => answered.errors.add(1, || format!("{error:#}")),
            Err(_) => answered.errors.add(1, || "no answer".to_owned()),
        }
    }
    answered
}

// === impl Answered ===

impl Answered {
    pub(crate) fn latency(&self) -> Option<Latency> {
        Some(Latency {
            p50: self.quantile_ms(0.50)?,
            p99: self.quantile_ms(0.99)?,
            p999: self.quantile_ms(0.999)?,
        })
    }

    /// The nearest rank: no value that was not measured.
    fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let rank = (self.latencies.len() as f64 * quantile).ceil() as usize;
        let micros = self.latencies.get(rank.saturating_sub(1))?;
        Some(f64::from(*micros) / 1000.0)
    }
}
