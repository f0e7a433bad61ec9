//! Acknowledgements: one may stand for many, but none waits long, and none stands for a message
//! that is not done.

use std::time::Duration;

use crate::support::{Answer, Backend, Rig, SOON, amqp::with_id};

/// One route that has many calls under way at once.
fn route(backend: &Backend, concurrency: u16, prefetch: u16) -> String {
    format!(
        r#"
drain_timeout: 1s
routes:
  PFX-fwd:
    from: {{ amqp: {{ queue: PFX-work, concurrency: {concurrency}, prefetch: {prefetch} }} }}
    to: {{ http: {{ url: "{}", timeout: 10m }} }}
"#,
        backend.url("/")
    )
}

/// A call that hangs takes one place of the prefetch and no more: what is done after it leaves the
/// queue, and it alone is there again after the end.
#[tokio::test]
async fn a_call_that_hangs_holds_up_no_acknowledgement() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.always("stuck", Answer::hang());
    let bridge = rig.bridge(&route(&backend, 4, 8)).await;
    let work = rig.name("work");
    let others = (0..300).map(|number| format!("m-{number}"));
    let ids = std::iter::once("stuck".to_owned()).chain(others);
    let messages = ids.map(|id| (with_id(&id), Vec::new()));
    rig.amqp().publish_all("", &work, messages).await;
    // The broker sends eight ahead: far more can only come when those before them are settled.
    backend.wait_for(301, SOON).await;
    bridge.signal("TERM");
    bridge.exit(SOON).await;
    rig.settles_at(&work, 1).await;
    let left = rig.amqp().get(&work).await.expect("a message");
    assert_eq!(left.message_id(), "stuck");
    assert_eq!(backend.count(), 301);
}

/// A shutdown right after the last answers: they are acknowledged before the connection is closed,
/// so that the next process finds nothing to do again.
#[tokio::test]
async fn what_was_answered_last_is_acknowledged_before_the_end() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::ok().after(Duration::from_millis(20)));
    let work = rig.name("work");
    let rounds: usize = 3;
    for round in 1..=rounds {
        let bridge = rig.bridge(&route(&backend, 40, 400)).await;
        let messages = (0..40).map(|number| (with_id(&format!("{round}-{number}")), Vec::new()));
        rig.amqp().publish_all("", &work, messages).await;
        backend.wait_for(40 * round, SOON).await;
        bridge.signal("TERM");
        let status = bridge.exit(SOON).await;
        assert_eq!(status.code(), Some(0), "{}", bridge.log());
        rig.settles_at(&work, 0).await;
    }
    assert_eq!(backend.count(), 40 * rounds);
}
