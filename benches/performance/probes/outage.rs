//! A broker that goes away under a load, and comes back.

use std::path::Path;

use anyhow::Context;

use super::{drain, waiting};
use crate::{
    broker::Broker,
    closed_loop, load,
    measure::{self, Cpu, Round},
    model::{Figures, Flow, Outage, Point, QUEUE, Subject},
    node::Node,
    process,
    settings::Settings,
    subject::{self, Started},
};

/// One a round; none where the broker is not ours.
pub(crate) async fn outages(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<Outage>> {
    let Some(node) = &settings.node else {
        return Ok(Vec::new());
    };
    let mut outages = Vec::new();
    for number in 0..settings.rounds {
        let dir = tempfile::tempdir_in(dir)?;
        let outage = outage(settings, node, dir.path()).await?;
        let (rate, drain) = (outage.spooling.rate, outage.drain_rate);
        let plain = outage.plain.rate;
        eprintln!(
            "round {}: outage: {plain:.0}/s before it, {rate:.0}/s spooled, {drain:.0}/s drained",
            number + 1
        );
        outages.push(outage);
    }
    Ok(outages)
}

async fn outage(settings: &Settings, node: &Node, dir: &Path) -> anyhow::Result<Outage> {
    let point = Point::plain(Flow::Accept, "quorum");
    let broker = Broker::connect(&settings.amqp_url).await?;
    broker.queue(QUEUE, &point.queue_type).await?;
    let round = Round {
        settings,
        effort: settings.effort(),
        point: &point,
        subject: Subject::Spooling,
        dir,
    };
    let bridge = subject::start(&round, 0).await?;
    let plain = answered(&round, &bridge).await?;
    node.stop().await?;
    let spooling = answered(&round, &bridge).await;
    let waiting = waiting(&bridge).await.unwrap_or_default();
    // Whatever came of it, what follows needs the broker.
    let (up, drained) = tokio::join!(node.up(), drain(&bridge, waiting, |_| Ok(())));
    up?;
    let (mut spooling, drained) = (spooling?, drained.context("draining")?);
    let good = spooling.good;
    let lost = good.saturating_sub(waiting);
    let what = || format!("{good} were spooled, {waiting} waited");
    spooling.errors.add(lost, what);
    measure::ended_well(bridge, &mut spooling.errors).await?;
    let broker = Broker::connect(&settings.amqp_url).await?;
    let mut both = spooling.clone();
    both.good += plain.good;
    measure::stored(&broker, &mut both).await?;
    spooling.errors = both.errors;
    measure::clean(&broker).await?;
    Ok(Outage {
        plain,
        spooling,
        waiting,
        drain_rate: waiting as f64 / drained.as_secs_f64(),
    })
}

async fn answered(round: &Round<'_>, bridge: &Started) -> anyhow::Result<Figures> {
    let Round { effort, point, .. } = round;
    let connections = usize::from(point.connections);
    let callers = load::open(connections, bridge.port, 202, point.body).await?;
    // The broker's is of no interest where it is away.
    let mut cpu = Cpu::of(bridge.process.pid, None);
    let answered = closed_loop::run(callers, effort.timing, || cpu.sample()).await?;
    let peak_mib = process::peak_rss_mib(bridge.process.pid)?;
    Ok(measure::figures(
        answered,
        effort.timing.measured,
        &cpu,
        peak_mib,
    ))
}
