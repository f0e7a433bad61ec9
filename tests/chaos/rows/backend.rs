//! The backend is in trouble.

use super::a_while;
use crate::{
    arena::Stage,
    backend::Mood,
    scene::{Plan, Scene},
    support::must,
    tally::Tally,
};

/// In this mood until some deliveries have met it, then good again.
pub async fn moody(stage: Stage, mood: Mood) -> Tally {
    let plan = Plan {
        backend_timeout: if mood == Mood::Hanging { "1s" } else { "20s" },
        ..Plan::default()
    };
    let scene = Scene::open(&stage, plan).await;
    a_while(&stage, 400).await;
    scene.backend.be(mood);
    felt(&scene, mood).await;
    a_while(&stage, 1_500).await;
    scene.backend.be(Mood::Good);
    scene.flows("after the trouble").await;
    scene.close().await
}

/// Waits until the mood has met some deliveries.
async fn felt(scene: &Scene, mood: Mood) {
    let route = scene.rig.name("fwd");
    let labels = [("route", route.as_str()), ("outcome", "retried")];
    let reached = scene.ledger.reached();
    scene
        .until("deliveries in the trouble", async || match mood {
            Mood::Down => {
                let bridge = scene.bridge();
                let retried = bridge.metric("hareway_deliveries_total", &labels).await;
                let open = bridge.metric("hareway_circuit_open", &labels[..1]).await;
                must(retried + open > 0.0, || "none yet".to_owned())
            }
            Mood::HalfBody => {
                let now = scene.ledger.reached();
                must(now >= reached + 20, || format!("{reached}, then {now}"))
            }
            _ => {
                let now = scene.ledger.refused_by_backend();
                must(now >= 5, || format!("{now} so far"))
            }
        })
        .await;
}
