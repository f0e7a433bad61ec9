//! The bridge ends, in order or not, while it spools and while it drains: no 202 is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use super::{YAML, behind_proxy, connected, drained, ids, take, take_away};
use crate::support::{Bridge, Proxy, Rig, SOON, eventually, must};

const CLIENTS: usize = 8;
const ROUNDS: u64 = 6;

/// What the clients have been promised.
#[derive(Debug, Default)]
struct Tally {
    accepted: BTreeSet<String>,
    spooled: usize,
}

/// Calls until the bridge has gone.
async fn load(bridge: Arc<Bridge>, name: String, count: Arc<AtomicUsize>) -> Tally {
    let client = bridge.client();
    let mut tally = Tally::default();
    for number in 0.. {
        let id = format!("{name}-{number}");
        // No answer: nothing was promised.
        let Ok(status) = take(&client, &id).await else {
            break;
        };
        tally.spooled += usize::from(status == "spooled");
        tally.accepted.insert(id);
        count.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

/// Takes the broker away and gives it back, at random.
async fn weather(proxy: Arc<Proxy>, mut random: fastrand::Rng) {
    loop {
        sleep(Duration::from_millis(random.u64(300..1_200))).await;
        take_away(&proxy);
        sleep(Duration::from_millis(random.u64(50..400))).await;
        proxy.resume();
    }
}

/// How many copies are in the queue.
async fn published(rig: &Rig) -> u32 {
    let counts = rig.amqp().counts(&rig.name("in")).await;
    counts.map_or(0, |counts| counts.messages)
}

async fn more_than(rig: &Rig, before: u32) {
    eventually(Duration::from_secs(60), "some are published", async || {
        let found = published(rig).await;
        must(found > before, || format!("{found}, as before"))
    })
    .await;
}

/// Ends a bridge under load by `signal`, again and again, then lets the last one drain.
async fn no_202_is_lost(signal: &str, code: Option<i32>) {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    let proxy = Arc::new(proxy);
    // So that the broker is found again between two storms.
    let yaml = YAML.replace("reconnect_max: 500ms", "reconnect_max: 100ms");
    let mut all = Tally::default();
    // What was in the queue when the last bridge began: published by those before it.
    let mut before = 0;
    for round in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(round);
        let bridge = Arc::new(rig.bridge_with(&yaml, options.clone()).await);
        let storm = tokio::spawn(weather(proxy.clone(), random.fork()));
        let count = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let name = format!("{round}-{client}");
            clients.spawn(load(bridge.clone(), name, count.clone()));
        }
        eventually(SOON, "under load", async || {
            let count = count.load(Ordering::Relaxed);
            must(count > 50, || count.to_string())
        })
        .await;
        if round % 2 == 0 {
            more_than(&rig, before).await;
            // The moment is the seed's, not a wait for something.
            sleep(Duration::from_millis(random.u64(0..1_500))).await;
            storm.abort();
        } else {
            // At the end of every other round something certainly waits.
            storm.abort();
            take_away(&proxy);
            eventually(SOON, "something waits", async || {
                let waiting = bridge.metric("hareway_spool_messages", &[]).await;
                must(waiting > 0.0, || waiting.to_string())
            })
            .await;
        }
        bridge.signal(signal);
        assert_eq!(bridge.exit(SOON).await.code(), code, "{}", bridge.log());
        for tally in clients.join_all().await {
            all.spooled += tally.spooled;
            all.accepted.extend(tally.accepted);
        }
        proxy.resume();
        before = published(&rig).await;
    }
    let bridge = rig.bridge_with(&yaml, options).await;
    connected(&bridge).await;
    drained(&bridge).await;
    let found = ids(&rig).await;
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    eprintln!(
        "{ROUNDS} ends by {signal}: {} accepted, {} of them spooled, {before} published before the \
         last end; {} copies",
        all.accepted.len(),
        all.spooled,
        found.len() - distinct.len()
    );
    let lost: Vec<_> = all.accepted.difference(&distinct).take(5).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(all.spooled > 0, "nothing was spooled");
    assert!(before > 0, "nothing was drained");
    assert!(
        before < u32::try_from(found.len()).unwrap(),
        "no end left anything"
    );
    assert_eq!(
        bridge.metric("hareway_spool_apart_messages", &[]).await,
        0.0
    );
}

/// kill -9 while messages are spooled and drained.
#[tokio::test]
async fn no_202_is_lost_by_a_crash() {
    no_202_is_lost("KILL", None).await;
}

/// SIGTERM while messages are spooled and drained: the end is in order each time.
#[tokio::test]
async fn no_202_is_lost_by_a_shutdown() {
    no_202_is_lost("TERM", Some(0)).await;
}

/// kill -9 in the middle of draining a long line, several times.
#[tokio::test]
async fn a_crash_while_draining_loses_nothing_and_keeps_the_order() {
    const COUNT: usize = 1_500;
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    take_away(&proxy);
    let bridge = rig.bridge_with(YAML, options.clone()).await;
    let client = bridge.client();
    let mut sent = Vec::new();
    for number in 0..COUNT {
        let id = format!("m-{number}");
        assert_eq!(take(&client, &id).await.as_deref(), Ok("spooled"));
        sent.push(id);
    }
    let mut bridge = bridge;
    let mut ends_while_draining = 0;
    for round in 1..=5 {
        // Slow enough that the end comes before the line's.
        proxy.set(|weather| {
            weather.refuse = false;
            weather.pause = Duration::from_millis(5);
        });
        let queue = rig.name("in");
        let goal = u32::try_from(COUNT * round / 10).expect("small");
        eventually(SOON, "some are drained", async || {
            let found = rig
                .amqp()
                .counts(&queue)
                .await
                .map_or(0, |found| found.messages);
            must(found >= goal, || format!("{found} of {goal}"))
        })
        .await;
        bridge.signal("KILL");
        bridge.exit(SOON).await;
        let found = rig.amqp().counts(&queue).await.expect("it is there");
        ends_while_draining += usize::from((found.messages as usize) < COUNT);
        take_away(&proxy);
        bridge = rig.bridge_with(YAML, options.clone()).await;
    }
    proxy.resume();
    connected(&bridge).await;
    drained(&bridge).await;
    assert!(
        ends_while_draining > 0,
        "no end came before that of the line"
    );
    assert_eq!(super::first_copies(&rig).await, sent);
}
