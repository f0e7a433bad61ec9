//! The broker goes away, or refuses.

use std::time::Duration;

use super::a_while;
use crate::{
    arena::Stage,
    backend::Mood,
    ledger::{Answer, Flow},
    scene::{Plan, Scene},
    tally::Tally,
};

pub async fn restart(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    a_while(&stage, 400).await;
    stage.broker.restart().await;
    scene.flows("after the restart").await;
    scene.close().await
}

/// With classic queues: where the only node of a quorum queue under traffic is killed, it comes
/// back now and then without a leader for it (3.10.8 and 4.0.5).
pub async fn kill(stage: Stage) -> Tally {
    let plan = Plan {
        amqp: "queue_type: classic",
        ..Plan::default()
    };
    let scene = Scene::open(&stage, plan).await;
    a_while(&stage, 400).await;
    stage.broker.kill().await;
    a_while(&stage, 1_000).await;
    stage.broker.start_again().await;
    scene.flows("after the crash").await;
    scene.close().await
}

/// With a spool, no caller hears of it.
pub async fn restart_spooled(stage: Stage) -> Tally {
    let plan = Plan {
        take: "spool: true",
        ..Plan::default()
    };
    let scene = Scene::open(&stage, plan).await;
    a_while(&stage, 400).await;
    stage.broker.restart().await;
    scene.flows("after the restart").await;
    let refused = |answer| matches!(answer, Answer::Refused(_));
    let refused = scene.ledger.count(Flow::Accept, refused);
    if refused > 0 {
        let statuses = scene.ledger.statuses(Flow::Accept);
        let text = format!("{refused} refused beside a spool that is not full: {statuses:?}");
        scene.ledger.broken(text);
    }
    scene.close().await
}

pub async fn memory_alarm(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    a_while(&stage, 400).await;
    let watermark = "set_vm_memory_high_watermark";
    stage.broker.ctl(&[watermark, "0.0001"]).await;
    scene.refusals("refused under the alarm").await;
    a_while(&stage, 1_000).await;
    stage.broker.ctl(&[watermark, "0.4"]).await;
    scene.flows("after the alarm").await;
    scene.close().await
}

pub async fn queue_full(stage: Stage) -> Tally {
    let plan = Plan {
        work_arguments: "{ x-max-length: 5, x-overflow: reject-publish }",
        ..Plan::default()
    };
    let scene = Scene::open(&stage, plan).await;
    scene.backend.be(Mood::Slow(Duration::from_millis(500)));
    scene.refusals("refused by the full queue").await;
    a_while(&stage, 1_000).await;
    scene.backend.be(Mood::Good);
    scene.flows("with room in the queue").await;
    scene.close().await
}
