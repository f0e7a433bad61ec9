//! Very many messages in a spool: what they take in memory and on the disk, and how fast they go.

use std::path::Path;

use anyhow::Context;
use tokio::time::Instant;

use super::{drain, file_mib, waiting};
use crate::{
    broker::Broker,
    closed_loop, load,
    measure::{self, Round},
    model::{Flow, LongSpool, Point, QUEUE, Sample, Subject},
    process::{peak_rss_mib, rss_mib},
    settings::Settings,
    subject::{self, Started},
};

const SAMPLES: u64 = 20;

/// None where the broker is not ours. The messages stay in their queue.
pub(crate) async fn long_spool(
    settings: &Settings,
    dir: &Path,
) -> anyhow::Result<Option<LongSpool>> {
    let Some(node) = &settings.node else {
        return Ok(None);
    };
    let dir = tempfile::tempdir_in(dir)?;
    let point = Point::plain(Flow::Accept, "quorum");
    let broker = Broker::connect(&settings.amqp_url).await?;
    broker.queue(QUEUE, &point.queue_type).await?;
    drop(broker);
    let round = Round {
        settings,
        effort: settings.effort(),
        point: &point,
        subject: Subject::Spooling,
        dir: dir.path(),
    };
    let bridge = subject::start(&round, 0).await?;
    node.stop().await?;
    let filled = fill(&round, &bridge).await;
    let full = waiting(&bridge).await.unwrap_or_default();
    let mut draining = Samples::new(&bridge, dir.path(), full);
    let drained = drain(&bridge, full, |left| draining.look(left));
    // Whatever came of it, what follows needs the broker.
    let (up, drained) = tokio::join!(node.up(), drained);
    up?;
    let (mut long, good) = filled?;
    long.drain_rate = full as f64 / drained.context("draining")?.as_secs_f64();
    long.peak_mib = peak_rss_mib(bridge.process.pid)?;
    long.draining = draining.samples;
    measure::ended_well(bridge, &mut long.errors).await?;
    long.file_after_mib = file_mib(dir.path())?;
    let broker = Broker::connect(&settings.amqp_url).await?;
    let found = broker.settled(QUEUE, |found| found >= good).await?;
    let lost = good.saturating_sub(found);
    long.errors.add(lost, || {
        format!("{good} were spooled, {found} are in the queue")
    });
    let (fill, drain) = (long.fill_rate, long.drain_rate);
    eprintln!("long spool: {good} messages, {fill:.0}/s spooled, {drain:.0}/s drained");
    Ok(Some(long))
}

/// Spools while the broker is away; gives how many were, too.
async fn fill(round: &Round<'_>, bridge: &Started) -> anyhow::Result<(LongSpool, u64)> {
    let total = round.settings.backlog as u64;
    let Point {
        connections, body, ..
    } = *round.point;
    let callers = load::open(connections.into(), bridge.port, 202, body).await?;
    let mut filling = Samples::new(bridge, round.dir, total);
    let begin = Instant::now();
    let errors = closed_loop::count(callers, total, |good| filling.look(good)).await?;
    let took = begin.elapsed();
    let good = total.saturating_sub(errors.count);
    let long = LongSpool {
        filling: filling.samples,
        draining: Vec::new(),
        fill_rate: good as f64 / took.as_secs_f64(),
        drain_rate: 0.0,
        peak_mib: 0.0,
        file_after_mib: 0.0,
        errors,
    };
    Ok((long, good))
}

/// Memory and file size, each time that the number of messages has changed by a share of all.
struct Samples<'a> {
    pid: u32,
    dir: &'a Path,
    step: u64,
    total: u64,
    samples: Vec<Sample>,
}

// === impl Samples ===

impl<'a> Samples<'a> {
    fn new(bridge: &Started, dir: &'a Path, total: u64) -> Self {
        Self {
            pid: bridge.process.pid,
            dir,
            step: (total / SAMPLES).max(1),
            total,
            samples: Vec::new(),
        }
    }

    fn look(&mut self, messages: u64) -> anyhow::Result<()> {
        let last = self.samples.last().map(|last| last.messages);
        let ended = messages == 0 || messages == self.total;
        let due = last
            .is_none_or(|last| messages.abs_diff(last) >= self.step || (ended && messages != last));
        if due {
            self.samples.push(Sample {
                messages,
                memory_mib: rss_mib(self.pid)?,
                file_mib: file_mib(self.dir)?,
            });
        }
        Ok(())
    }
}
