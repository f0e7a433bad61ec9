//! How long it takes until a bridge is ready, and until a long configuration is checked.

use std::{fs, path::Path};

use anyhow::Context;
use tokio::{process::Command, time::Instant};

use crate::{
    broker::Broker,
    measure::{self, Round},
    model::{Flow, Point, QUEUE, Starts, Subject},
    settings::Settings,
    subject,
};

/// Starts with a route of each flow, one start before them not counted: it makes the queues.
pub(crate) async fn starts(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<Starts>> {
    let broker = Broker::connect(&settings.amqp_url).await?;
    let mut all = Vec::new();
    for flow in Flow::ALL {
        let point = Point::plain(flow, "quorum");
        broker.queue(QUEUE, &point.queue_type).await?;
        let round = Round {
            settings,
            effort: settings.effort(),
            point: &point,
            subject: Subject::Bridge,
            dir,
        };
        let mut ready_ms = Vec::new();
        for number in 0..=settings.starts {
            let mut bridge = subject::begin(&round, 9)?;
            let ready = bridge.ready().await?;
            anyhow::ensure!(bridge.end().await?, "it did not end in order");
            if number > 0 {
                ready_ms.push(ready.as_secs_f64() * 1000.0);
            }
        }
        measure::clean(&broker).await?;
        all.push(Starts { flow, ready_ms });
    }
    Ok(all)
}

/// Seconds of `hareway check` of a configuration with many routes, as often.
pub(crate) async fn check_seconds(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<f64>> {
    let point = Point::plain(Flow::Accept, "quorum");
    let round = Round {
        settings,
        effort: settings.effort(),
        point: &point,
        subject: Subject::ManyRoutes,
        dir,
    };
    let file = dir.join("check.yaml");
    fs::write(&file, subject::configuration(&round, [8080, 9090], 0)?)?;
    let mut seconds = Vec::new();
    for _ in 0..settings.starts {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hareway"));
        command.arg("check").arg("-c").arg(&file);
        command.env("AMQP_URL", &settings.amqp_url);
        let begin = Instant::now();
        let output = command.output().await.context("cannot start the check")?;
        seconds.push(begin.elapsed().as_secs_f64());
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "the check failed: {said}");
    }
    Ok(seconds)
}
