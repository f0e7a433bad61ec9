//! The backend is in trouble.

use super::a_while;
use crate::{
    arena::Stage,
    backend::Mood,
    scene::{Plan, Scene},
    support::must,
    tally::Tally,
};

/// In this mood until at least twenty deliveries have failed, then good again.
pub async fn moody(stage: Stage, mood: Mood) -> Tally {
    let plan = Plan {
        backend_timeout: if mood == Mood::Hanging { "1s" } else { "20s" },
        ..Plan::default()
    };
    let scene = Scene::open(&stage, plan).await;
    a_while(&stage, 400).await;
    scene.backend.be(mood);
    if mood == Mood::Down {
        let route = scene.rig.name("fwd");
        scene
            .until("failed deliveries", async || {
                let labels = [("route", route.as_str()), ("outcome", "retried")];
                let retried = scene
                    .bridge()
                    .metric("hareway_deliveries_total", &labels)
                    .await;
                let open = scene
                    .bridge()
                    .metric("hareway_circuit_open", &labels[..1])
                    .await;
                must(retried + open > 0.0, || "none yet".to_owned())
            })
            .await;
    } else {
        scene
            .until("failed deliveries", async || {
                let now = scene.ledger.refused_by_backend();
                must(now >= 5, || format!("{now} so far"))
            })
            .await;
    }
    a_while(&stage, 1_500).await;
    scene.backend.be(Mood::Good);
    scene.flows("after the trouble").await;
    scene.close().await
}
