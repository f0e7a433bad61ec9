//! A batch that is published in order is in its queue in that order, whatever runs beside it.

use std::time::Duration;

use bytes::Bytes;
use hareway::{
    amqp::{Broker, Outcome, Publisher, publisher::Gate},
    config::{self, Config, Sources, raw::ProcessEnvironment},
    message::Publish,
    telemetry::Metrics,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::support::{Rig, SOON, amqp::with_id, eventually, must};

const LIMIT: Duration = Duration::from_secs(60);
/// Messages of each sequence.
const COUNT: usize = 2_000;

/// The bridge's own side of the broker, without a bridge.
struct Lanes {
    publisher: Publisher,
    end: CancellationToken,
    tracker: TaskTracker,
}

impl Lanes {
    async fn start(rig: &Rig) -> Self {
        let config = configuration(rig);
        let metrics = Metrics::new().unwrap();
        let broker = Broker::new(&config, &metrics);
        let publisher = broker.publisher();
        let end = broker.stages().connections;
        let tracker = TaskTracker::new();
        drop(broker.start(&config, &tracker).unwrap());
        eventually(SOON, "connected", async || {
            let gate = publisher.gate();
            must(gate == Gate::Open, || format!("{gate:?}"))
        })
        .await;
        Self {
            publisher,
            end,
            tracker,
        }
    }

    async fn stop(self) {
        self.end.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn configuration(rig: &Rig) -> Config {
    let yaml = format!(
        r#"
amqp: {{ url: "{}", instance: {}, lanes: 4, window: 16 }}
queues:
  PFX-first: {{ type: classic }}
  PFX-second: {{ type: classic }}
  PFX-beside: {{ type: classic }}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: PFX-beside }}
"#,
        rig.url(),
        rig.name("i0")
    );
    let file = rig.dir().join("lanes.yaml");
    std::fs::write(&file, rig.fill(&yaml)).unwrap();
    let sources = Sources {
        files: vec![file],
        ..Sources::default()
    };
    let loaded = config::load(&sources, &ProcessEnvironment::default());
    loaded.unwrap_or_else(|found| panic!("{found}")).config
}

fn message(queue: &str, id: &str) -> Publish {
    Publish {
        exchange: "".into(),
        routing_key: queue.into(),
        properties: with_id(id),
        body: Bytes::from_static(b"x"),
    }
}

/// Publishes `0`, `1`, `2`, … in batches of every size, one after the other.
async fn in_order(publisher: Publisher, queue: String, mut size: usize) {
    let mut next = 0;
    while next < COUNT {
        let end = (next + size).min(COUNT);
        let ids = (next..end).map(|id| id.to_string());
        let batch: Vec<Publish> = ids.map(|id| message(&queue, &id)).collect();
        let outcomes = publisher.publish_in_order(batch, LIMIT).await;
        assert_eq!(outcomes, vec![Outcome::Routed; end - next]);
        next = end;
        size = size * 7 % 256 + 1;
    }
}

/// Two sequences on four lanes, with single publishes beside them all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_keep_their_order_on_several_lanes() {
    let rig = Rig::new().await;
    let lanes = Lanes::start(&rig).await;
    let over = CancellationToken::new();
    let mut beside = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (publisher, over) = (lanes.publisher.clone(), over.clone());
        let publish = message(&rig.name("beside"), "beside");
        beside.spawn(async move {
            let mut count = 0_u32;
            while !over.is_cancelled() {
                let outcome = publisher.publish(publish.clone(), LIMIT).await;
                assert_eq!(outcome, Outcome::Routed);
                count += 1;
            }
            count
        });
    }
    let mut sequences = tokio::task::JoinSet::new();
    for (name, size) in [("first", 3), ("second", 200)] {
        let queue = rig.name(name);
        sequences.spawn(in_order(lanes.publisher.clone(), queue, size));
    }
    sequences.join_all().await;
    over.cancel();
    let singles: u32 = beside.join_all().await.iter().sum();
    assert!(singles > 0, "nothing ran beside");
    lanes.stop().await;
    for name in ["first", "second"] {
        let got = rig.amqp().drain_many(&rig.name(name)).await;
        let ids: Vec<usize> = got
            .iter()
            .map(|got| got.message_id().parse().unwrap())
            .collect();
        assert!(ids.iter().copied().eq(0..COUNT), "{name}: {ids:?}");
    }
}
