//! The bridge itself ends.

use super::a_while;
use crate::{
    arena::Stage,
    backend::Mood,
    scene::{PATIENCE, Plan, Scene},
    support::must,
    tally::Tally,
    traffic::Crowd,
};

pub async fn kill(stage: Stage) -> Tally {
    killed_three_times(&stage, Plan::default())
        .await
        .close()
        .await
}

/// Callers repeat what was not answered, under the same key.
pub async fn kill_with_keys(stage: Stage) -> Tally {
    let plan = Plan {
        take: "idempotency: true",
        crowd: Crowd {
            insists: true,
            ..Crowd::default()
        },
        ..Plan::default()
    };
    killed_three_times(&stage, plan).await.close().await
}

async fn killed_three_times(stage: &Stage, plan: Plan) -> Scene {
    let scene = Scene::open(stage, plan).await;
    for _ in 0..3 {
        a_while(stage, 400).await;
        scene.kill_bridge().await;
        scene.start_bridge();
        scene.flows("after the crash").await;
    }
    scene
}

/// While copies are on their way to the retry queues.
pub async fn kill_retrying(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    scene.backend.be(Mood::Failing(500));
    for _ in 0..2 {
        let before = scene.ledger.refused_by_backend();
        scene
            .until("failed deliveries", async || {
                let now = scene.ledger.refused_by_backend();
                must(now > before + 30, || format!("{before}, then {now}"))
            })
            .await;
        a_while(&stage, 300).await;
        scene.kill_bridge().await;
        scene.start_bridge();
        scene.bridge().ready(PATIENCE).await;
    }
    scene.backend.be(Mood::Good);
    scene.flows("after the crashes").await;
    scene.close().await
}

fn spooled() -> Plan {
    Plan {
        proxied: true,
        take: "spool: true",
        ..Plan::default()
    }
}

/// While messages are written to the spool, and once more after a start without a broker.
pub async fn kill_spooling(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, spooled()).await;
    scene.proxy().set(|weather| weather.refuse = true);
    scene.proxy().cut();
    for _ in 0..2 {
        scene.spooled(40).await;
        a_while(&stage, 200).await;
        scene.kill_bridge().await;
        scene.start_bridge();
    }
    scene.spooled(20).await;
    scene.proxy().resume();
    scene.flows("with the broker back").await;
    scene.close().await
}

/// While the spool is emptied.
pub async fn kill_draining(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, spooled()).await;
    scene.proxy().set(|weather| weather.refuse = true);
    scene.proxy().cut();
    scene.spooled(300).await;
    scene.proxy().resume();
    let before = scene.ledger.reached();
    scene
        .until("the spool drains", async || {
            let now = scene.ledger.reached();
            must(now > before, || "nothing yet".to_owned())
        })
        .await;
    a_while(&stage, 30).await;
    scene.kill_bridge().await;
    scene.start_bridge();
    scene.flows("after the crash").await;
    scene.close().await
}

/// A graceful end under load, and another bridge in its place.
pub async fn terminate(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    for _ in 0..2 {
        a_while(&stage, 400).await;
        let bridge = scene.bridge();
        bridge.signal("TERM");
        let status = bridge.exit(PATIENCE).await;
        if status.code() != Some(0) {
            scene
                .ledger
                .broken(format!("it ended with {status}: {}", bridge.log()));
        }
        scene.start_bridge();
        scene.flows("after the end of the one before").await;
    }
    scene.close().await
}
