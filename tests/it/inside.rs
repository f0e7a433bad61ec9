//! The bridge is a value: built from a configuration and listeners, run until told to end.

use std::time::Duration;

use crate::support::{Answer, Backend, Rig, SOON, amqp::with_id};

const YAML: &str = r#"
queues:
  PFX-in: {}
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-in }
"#;

/// Two bridges in one process share nothing: each counts its own.
#[tokio::test]
async fn two_in_one_process_do_not_mix() {
    let rig = Rig::new().await;
    let (first, second) = (rig.inside(YAML).await, rig.inside(YAML).await);
    for _ in 0..3 {
        first.client().post("/take").send().await.expect(202);
    }
    second.client().post("/take").send().await.expect(202);
    rig.settles_at(&rig.name("in"), 4).await;
    for (bridge, count) in [(&first, 3), (&second, 1)] {
        let text = bridge
            .admin()
            .get("/metrics")
            .send()
            .await
            .expect(200)
            .text();
        let line = format!(
            "hareway_published_total{{outcome=\"routed\",route=\"{}\"}} {count}",
            rig.name("take")
        );
        assert!(text.contains(&line), "{line} in {text}");
    }
}

/// Told to end, it ends and leaves nothing undone; told to end at once, it says what it cut off.
#[tokio::test]
async fn it_ends_as_it_is_told() {
    let rig = Rig::new().await;
    let bridge = rig.inside(YAML).await;
    bridge.client().post("/take").send().await.expect(202);
    bridge.shutdown().graceful.cancel();
    let left = bridge.drained().await;
    assert_eq!(left, hareway::app::Drained::default());

    let backend = Backend::start().await;
    backend.otherwise(Answer::hang());
    let yaml = format!(
        r#"
routes:
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: {{ url: "{}", timeout: 10m }} }}
"#,
        backend.url("/")
    );
    let bridge = rig.inside(&yaml).await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    backend.wait_for(1, SOON).await;
    bridge.shutdown().graceful.cancel();
    bridge.shutdown().immediate.cancel();
    let left = tokio::time::timeout(Duration::from_secs(15), bridge.drained()).await;
    assert_ne!(left.expect("at once"), hareway::app::Drained::default());
    rig.settles_at(&rig.name("work"), 1).await;
}
