//! Delivering from a queue that holds very many messages.

use std::path::Path;

use crate::{
    backend::Backend,
    broker::Broker,
    measure::{self, DELIVER_LIMIT, Round},
    model::{BODY, Backlog, Flow, Point, QUEUE, Subject},
    process::peak_rss_mib,
    settings::Settings,
    subject,
};

/// As many as a round delivers, from a queue of very many messages, and from one of just these.
pub(crate) async fn backlogs(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<Backlog>> {
    let broker = Broker::connect(&settings.amqp_url).await?;
    let body = vec![b'x'; BODY];
    let point = Point::plain(Flow::Deliver, "quorum");
    let mut found = Vec::new();
    for count in [settings.backlog, settings.messages] {
        // A long spool may just have left as many.
        let there = broker.messages(QUEUE).await.unwrap_or_default();
        if there < count as u64 || count == settings.messages {
            broker.queue(QUEUE, &point.queue_type).await?;
            broker.fill(QUEUE, count, &body).await?;
        }
        let messages = broker.settled(QUEUE, |there| there >= count as u64).await?;
        let backlog = deliver(settings, &point, messages, dir).await?;
        let peak = backlog.peak_mib;
        eprintln!("a queue of {messages}: {peak:.0} MiB at most while delivering");
        found.push(backlog);
    }
    measure::clean(&broker).await?;
    Ok(found)
}

async fn deliver(
    settings: &Settings,
    point: &Point,
    messages: u64,
    dir: &Path,
) -> anyhow::Result<Backlog> {
    let mut backend = Backend::start(settings.messages, point.body).await?;
    let round = Round {
        settings,
        effort: settings.effort(),
        point,
        subject: Subject::Bridge,
        dir,
    };
    let bridge = subject::start(&round, backend.port).await?;
    backend.complete(DELIVER_LIMIT).await?;
    let peak_mib = peak_rss_mib(bridge.process.pid)?;
    let mut errors = backend.errors();
    measure::ended_well(bridge, &mut errors).await?;
    Ok(Backlog {
        messages,
        peak_mib,
        errors,
    })
}
