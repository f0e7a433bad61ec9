//! No room for the store.

use super::a_while;
use crate::{
    arena::Stage,
    disk::is_root,
    scene::{Plan, Scene},
    tally::Tally,
};

pub fn no_mounts(_: &Stage) -> Option<String> {
    (!is_root()).then(|| "a disk of its own needs root".to_owned())
}

/// The broker is away, the store's disk fills up, has room again, and the broker returns.
pub async fn full(stage: Stage) -> Tally {
    let plan = Plan {
        proxied: true,
        take: "spool: true",
        store: Some("16m"),
        ..Plan::default()
    };
    let scene = Scene::open(&stage, plan).await;
    let disk = scene.store.as_ref().expect("planned with a disk");
    scene.proxy().set(|weather| weather.refuse = true);
    scene.proxy().cut();
    scene.spooled(20).await;
    disk.fill();
    scene.refusals("refused with a full disk").await;
    a_while(&stage, 1_000).await;
    disk.clear();
    scene.spooled(20).await;
    scene.proxy().resume();
    scene.flows("with the broker back").await;
    scene.close().await
}
