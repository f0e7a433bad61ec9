//! A cluster of three nodes with quorum queues loses one of them.

use super::a_while;
use crate::{
    arena::Stage,
    cluster::Cluster,
    disk::is_root,
    scene::{Plan, Scene},
    tally::Tally,
};

pub fn no_namespaces(_: &Stage) -> Option<String> {
    (!is_root()).then(|| "network namespaces need root".to_owned())
}

async fn open(stage: &Stage, cluster: &Cluster) -> Scene {
    let plan = Plan {
        brokers: cluster.urls(),
        ..Plan::default()
    };
    Scene::open(stage, plan).await
}

/// The node that leads the work queue is killed, and comes back.
pub async fn leader_lost(stage: Stage) -> Tally {
    let cluster = Cluster::start(stage.root.as_deref()).await;
    let scene = open(&stage, &cluster).await;
    a_while(&stage, 400).await;
    let leader = cluster.leader(&scene.rig.name("work")).await;
    cluster.node(leader).kill().await;
    scene.flows("on the two that are left").await;
    cluster.node(leader).start_again().await;
    scene.flows("with all three").await;
    scene.close().await
}

/// The node that leads the work queue is alone on its side of a partition, with whoever is
/// connected to it; then the partition heals.
pub async fn partition(stage: Stage) -> Tally {
    let cluster = Cluster::start(stage.root.as_deref()).await;
    let scene = open(&stage, &cluster).await;
    a_while(&stage, 400).await;
    let leader = cluster.leader(&scene.rig.name("work")).await;
    cluster.isolate(leader).await;
    scene.flows("on the side of the majority").await;
    a_while(&stage, 3_000).await;
    cluster.heal(leader).await;
    cluster.whole().await;
    scene.flows("with the partition healed").await;
    scene.close().await
}
