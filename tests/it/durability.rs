//! What was accepted is there, whatever happened to the broker meanwhile.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::support::{Bridge, Broker, Rig, eventually, must};

const CONNECTIONS: usize = 64;

/// The route's confirm timeout, and what a busy machine may add to it.
const DEADLINE: Duration = Duration::from_secs(5 + 3);

/// From the broker's first answer to the bridge's readiness.
const READY_AGAIN: Duration = Duration::from_secs(5);

/// How many 202s there shall be: `HAREWAY_ACCEPT_COUNT`, or 100,000.
fn wanted() -> usize {
    let count = std::env::var("HAREWAY_ACCEPT_COUNT").ok();
    count.and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

/// What one connection has seen.
#[derive(Debug, Default)]
struct Tally {
    accepted: Vec<String>,
    refused: BTreeMap<String, usize>,
    longest: Duration,
}

/// Calls until `accepted` has reached its goal; after a refusal the same id is sent again.
async fn call(bridge: Arc<Bridge>, name: usize, goal: usize, accepted: Arc<AtomicUsize>) -> Tally {
    let client = bridge.client();
    let mut tally = Tally::default();
    let mut number = 0;
    let body = vec![b'x'; 256];
    while accepted.load(Ordering::Relaxed) < goal {
        let id = format!("{name}-{number}");
        let begun = Instant::now();
        let call = client
            .post("/take")
            .header("message-id", &id)
            .body(body.clone());
        let reply = call.send().await;
        tally.longest = tally.longest.max(begun.elapsed());
        match reply.status.as_u16() {
            202 => {
                accepted.fetch_add(1, Ordering::Relaxed);
                tally.accepted.push(id);
                number += 1;
            }
            503 | 504 => {
                *tally.refused.entry(reply.problem()).or_default() += 1;
                // As polite as `Retry-After` asks for would take the test too long.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => panic!("{} {}", reply.status, reply.text()),
        }
    }
    tally
}

/// 100,000 accepted over 64 connections while the broker is restarted twice: the id of every 202
/// is in the queue, no call takes longer than its deadline, and the bridge is ready again within
/// five seconds of the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_202_survives_broker_restarts() {
    let broker = Broker::private().await;
    let mut rig = Rig::on(&broker).await;
    let bridge = Arc::new(
        rig.bridge(
            r#"
amqp: { reconnect_max: 1s }
queues:
  PFX-in: { type: classic }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: { queue: PFX-in, confirm_timeout: 5s } }
"#,
        )
        .await,
    );
    let goal = wanted();
    let accepted = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for name in 0..CONNECTIONS {
        calls.spawn(call(bridge.clone(), name, goal, accepted.clone()));
    }
    for part in 1..=2 {
        eventually(Duration::from_secs(300), "enough accepted", async || {
            let count = accepted.load(Ordering::Relaxed);
            must(count >= goal * part / 3, || count.to_string())
        })
        .await;
        broker.restart().await;
        bridge.ready(READY_AGAIN).await;
    }
    let tallies = calls.join_all().await;
    let took = begun.elapsed();
    rig.reconnect().await;
    let all = rig.amqp().drain_many(&rig.name("in")).await;
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for got in &all {
        *found.entry(got.message_id()).or_default() += 1;
    }
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let (mut count, mut lost) = (0, Vec::new());
    for tally in &tallies {
        assert!(tally.longest < DEADLINE, "a call took {:?}", tally.longest);
        count += tally.accepted.len();
        lost.extend(
            tally
                .accepted
                .iter()
                .filter(|id| !found.contains_key(id.as_str())),
        );
        for (kind, times) in &tally.refused {
            *refused.entry(kind.clone()).or_default() += times;
        }
    }
    let repeated = all.len() - found.len();
    eprintln!("{count} accepted in {took:?}; {repeated} repeated; refused meanwhile: {refused:?}");
    assert!(count >= goal);
    assert!(
        lost.is_empty(),
        "{} of {count} lost: {:?}",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
}
