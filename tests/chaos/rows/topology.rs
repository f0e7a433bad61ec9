//! Somebody takes away what the bridge stands on.

use lapin::options::ExchangeDeleteOptions;

use super::a_while;
use crate::{
    arena::Stage,
    backend::Mood,
    scene::{PATIENCE, Plan, Scene},
    support::must,
    tally::Tally,
};

pub async fn exchange_deleted(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    for _ in 0..3 {
        a_while(&stage, 400).await;
        let channel = scene.rig.amqp().channel().await;
        let exchange = scene.rig.name("x");
        let deleted =
            channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default());
        deleted.await.expect("deleted");
        scene.flows("after the exchange was deleted").await;
    }
    scene.close().await
}

/// Messages in the queue go with it, so it is empty when it goes; what comes after it must not.
pub async fn queue_deleted(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    for _ in 0..3 {
        a_while(&stage, 400).await;
        scene.rest().await;
        scene.rig.amqp().delete_queue(&scene.rig.name("work")).await;
        scene.traffic.go_on();
        scene.flows("after the queue was deleted").await;
    }
    scene.close().await
}

/// The consumer is cancelled, and its queue is another one at once.
pub async fn queue_replaced(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    for _ in 0..3 {
        a_while(&stage, 400).await;
        scene.rest().await;
        let (work, exchange) = (scene.rig.name("work"), scene.rig.name("x"));
        let amqp = scene.rig.amqp();
        amqp.delete_queue(&work).await;
        // Where the bridge has been faster, its own queue is the other one.
        amqp.new_queue(&work, &[]).await;
        amqp.bind(&work, &exchange, "work").await;
        scene.traffic.go_on();
        scene.flows("after the queue was replaced").await;
    }
    scene.close().await
}

/// The broker closes a channel whose deliveries are held too long, and takes them back.
pub async fn ack_timeout(stage: Stage) -> Tally {
    limits(&stage, 1_500, 300).await;
    // The backend may take longer than the broker waits: what check warns of.
    let scene = Scene::open(&stage, Plan::default()).await;
    a_while(&stage, 400).await;
    scene.backend.be(Mood::Hanging);
    scene
        .until("the broker closes the channel", async || {
            let log = scene.bridge().log();
            must(log.contains("consumer stopped"), || {
                "nothing yet".to_owned()
            })
        })
        .await;
    scene.backend.be(Mood::Good);
    limits(&stage, 1_800_000, 60_000).await;
    scene.flows("after the channel was closed").await;
    scene.bridge().ready(PATIENCE).await;
    scene.close().await
}

/// Of the broker, for channels that are opened from now on, and how often it looks.
async fn limits(stage: &Stage, timeout_ms: u32, look_ms: u32) {
    let set = format!(
        "application:set_env(rabbit, consumer_timeout, {timeout_ms}), \
         application:set_env(rabbit, channel_tick_interval, {look_ms})."
    );
    stage.broker.ctl(&["eval", &set]).await;
}
