//! No outcome ever lands on another request, whatever runs beside it.

use std::collections::BTreeSet;

use crate::support::{Rig, amqp::with_id};

const CONNECTIONS: usize = 64;
const CALLS: usize = 320;

/// 20,480 publishes over 64 connections, a third each to a queue that takes them, to nowhere and
/// to a full queue: each caller learns what became of its own message, and the queue holds exactly
/// the messages that were said to be in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_belongs_to_its_request() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
exchanges:
  PFX-nowhere: { type: direct }
queues:
  PFX-good: { type: classic }
  PFX-full:
    type: classic
    arguments: { x-max-length: 1, x-overflow: reject-publish }
routes:
  PFX-routed:
    from: { http: "POST /routed" }
    to: { amqp: { queue: PFX-good, confirm_timeout: 60s } }
  PFX-unroutable:
    from: { http: "POST /unroutable" }
    to: { amqp: { exchange: PFX-nowhere, routing_key: "a.b", confirm_timeout: 60s } }
  PFX-nacked:
    from: { http: "POST /nacked" }
    to: { amqp: { queue: PFX-full, confirm_timeout: 60s } }
"#,
        )
        .await;
    rig.amqp()
        .send(&rig.name("full"), with_id("first"), b"")
        .await;

    let mut connections = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        // A client each, so a connection each.
        let client = bridge.client();
        connections.spawn(async move {
            let mut accepted = Vec::new();
            let mut wrong = Vec::new();
            for call in 0..CALLS {
                let (path, expected) = match (connection + call * 7) % 3 {
                    0 => ("/routed", 202),
                    1 => ("/unroutable", 502),
                    _ => ("/nacked", 503),
                };
                let id = format!("{connection}-{call}");
                let reply = client
                    .post(path)
                    .header("message-id", &id)
                    .body("x")
                    .send()
                    .await;
                let status = reply.status.as_u16();
                if status == 202 {
                    accepted.push(id.clone());
                }
                if status != expected || reply.header("message-id") != id {
                    wrong.push(format!("{id} to {path}: {status} {}", reply.text()));
                }
            }
            (accepted, wrong)
        });
    }
    let mut accepted = BTreeSet::new();
    let mut wrong = Vec::new();
    for (some, others) in connections.join_all().await {
        accepted.extend(some);
        wrong.extend(others);
    }
    let shown = &wrong[..wrong.len().min(5)];
    assert!(
        wrong.is_empty(),
        "{} of {}: {shown:?}",
        wrong.len(),
        CONNECTIONS * CALLS
    );
    let found = rig.amqp().drain_many(&rig.name("good")).await;
    assert_eq!(found.len(), accepted.len());
    let found: BTreeSet<String> = found
        .iter()
        .map(|got| got.message_id().to_owned())
        .collect();
    assert_eq!(found, accepted);
    rig.settles_at(&rig.name("full"), 1).await;
}
