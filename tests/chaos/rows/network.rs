//! The network between bridge and broker.

use std::time::Duration;

use super::a_while;
use crate::{
    arena::Stage,
    scene::{PATIENCE, Plan, Scene},
    tally::Tally,
};

fn proxied() -> Plan {
    Plan {
        proxied: true,
        ..Plan::default()
    }
}

pub async fn cut(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, proxied()).await;
    for _ in 0..3 {
        a_while(&stage, 400).await;
        scene.proxy().cut();
        scene.flows("after the cut").await;
    }
    scene.close().await
}

/// A black hole for longer than two heartbeats; what it has swallowed comes out afterwards.
pub async fn stall(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, proxied()).await;
    a_while(&stage, 400).await;
    scene.proxy().stall();
    scene.bridge().not_ready(PATIENCE).await;
    a_while(&stage, 2_000).await;
    scene.proxy().resume();
    scene.flows("after the stall").await;
    scene.close().await
}

pub async fn half_close(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, proxied()).await;
    for _ in 0..3 {
        a_while(&stage, 400).await;
        scene.proxy().half_close();
        scene.flows("after the half-close").await;
    }
    scene.close().await
}

/// 1 KiB at a time, with pauses.
pub async fn trickle(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, proxied()).await;
    a_while(&stage, 400).await;
    let pause = Duration::from_millis(stage.chance().u64(10..60));
    scene.proxy().set(|weather| weather.pause = pause);
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.proxy().resume();
    scene.flows("after the trickle").await;
    scene.close().await
}
