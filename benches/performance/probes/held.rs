//! Very many calls that wait for their replies at once.

use std::{path::Path, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    broker::{Broker, Worker},
    closed_loop::Caller,
    errors::Errors,
    load,
    measure::{self, Round},
    model::{BODY, Flow, Held, Point, QUEUE, Subject},
    process::{self, rss_mib},
    settings::Settings,
    subject,
};

/// Between two calls, so that none waits for anything but its reply.
const PAUSE: Duration = Duration::from_micros(250);
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Files and sockets beside those of the calls.
const SPARE: usize = 500;

/// As many as are wanted, or as this process may have connections.
pub(crate) async fn held(settings: &Settings, dir: &Path) -> anyhow::Result<Held> {
    let most = process::open_files_limit()?.saturating_sub(SPARE);
    let calls = settings.held.min(most);
    let broker = Broker::connect(&settings.amqp_url).await?;
    let point = Point::plain(Flow::RequestReply, "quorum");
    broker.queue(QUEUE, &point.queue_type).await?;
    let round = Round {
        settings,
        effort: settings.effort(),
        point: &point,
        subject: Subject::Holding,
        dir,
    };
    let bridge = subject::start(&round, 0).await?;
    let idle_mib = rss_mib(bridge.process.pid)?;
    let mut tasks = JoinSet::new();
    let mut at = Instant::now();
    for mut caller in load::open(calls, bridge.port, 200, BODY).await? {
        at = (at + PAUSE).max(Instant::now());
        tasks.spawn(async move {
            sleep_until(at).await;
            timeout(ANSWER_LIMIT, caller.call()).await
        });
    }
    let there = broker.settled(QUEUE, |there| there >= calls as u64).await?;
    let held_mib = rss_mib(bridge.process.pid)?;
    let mut errors = Errors::default();
    let missing = (calls as u64).saturating_sub(there);
    errors.add(missing, || {
        format!("{missing} of {calls} calls were not held")
    });
    let worker = Worker::start(&settings.amqp_url, QUEUE).await?;
    while let Some(answered) = tasks.join_next().await {
        match answered? {
            Ok(Ok(())) => {}
            Ok(Err(error)) => errors.add(1, || format!("{error:#}")),
            Err(_) => errors.add(1, || "no answer".to_owned()),
        }
    }
    let peak_mib = process::peak_rss_mib(bridge.process.pid)?;
    drop(worker);
    measure::ended_well(bridge, &mut errors).await?;
    measure::clean(&broker).await?;
    let count = errors.count;
    eprintln!("{calls} calls held: {held_mib:.0} MiB, {peak_mib:.0} at most, {count} errors");
    Ok(Held {
        calls,
        idle_mib,
        held_mib,
        peak_mib,
        errors,
    })
}
