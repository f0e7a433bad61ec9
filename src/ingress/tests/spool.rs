//! What the broker does not take waits on disk and follows in order: 202 says that it does.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Bridge, IN_FLIGHT, accepted, inbound, post, route};
use crate::{
    amqp::{Outcome, publisher::Gate},
    config::model::{self, Inbound, Unroutable},
    message::Publish,
    server::testing::{Answer, PATIENCE},
    store::{self, Spool, Store},
};

const ROUTE: &str = "place-order";

/// A bridge with one spooled route, and its store.
struct Rig {
    bridge: Bridge,
    store: Store,
    spool: Spool,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn start(inbound: Inbound) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let spool = store.spool(&ROUTE.into(), inbound.spool.as_ref().unwrap());
        let routes = vec![route(ROUTE, inbound)];
        let bridge = Bridge::with_store(IN_FLIGHT, routes, Some(&store)).await;
        Self {
            bridge,
            store,
            spool,
            _folder: folder,
        }
    }

    async fn post(&self, id: &str) -> Answer {
        self.bridge.client().await.ask(request(id)).await
    }

    /// Messages that are spooled while the broker is away.
    async fn outage(&self, ids: &[&str]) {
        self.bridge.broker.set(Gate::Down);
        for id in ids {
            spooled(&self.post(id).await, id);
        }
    }

    /// The next publish has this id and this outcome.
    async fn takes(&mut self, id: &str, outcome: Outcome) {
        let taken = self.bridge.broker.take().await;
        assert_eq!(id_of(taken.publish()), id);
        taken.end(outcome);
    }

    async fn usage(&self, what: &str, holds: impl Fn(&store::Usage) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.spool.usage()) {
            let usage = self.spool.usage();
            assert!(Instant::now() < deadline, "not in time: {what}; {usage:?}");
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn is_empty(&self) {
        self.usage("an empty spool", |usage| usage.messages == 0)
            .await;
    }

    fn published(&self, outcome: &str) -> f64 {
        let line = format!(r#"hareway_published_total{{outcome="{outcome}",route="{ROUTE}"}}"#);
        self.bridge.metric(&line)
    }
}

/// With a spool that is never full.
pub(super) fn with_spool() -> Inbound {
    Inbound {
        spool: Some(model::Spool {
            max_bytes: 1 << 30,
            max_age: None,
        }),
        ..inbound(accepted())
    }
}

fn request(id: &str) -> String {
    post("/orders/eu", &format!("Message-Id: {id}\r\n"), "x")
}

pub(super) fn order(id: &str, body: Bytes) -> Publish {
    Publish {
        exchange: "orders".into(),
        routing_key: "order.eu".into(),
        properties: lapin::BasicProperties::default().with_message_id(id.into()),
        body,
    }
}

pub(super) fn id_of(publish: &Publish) -> &str {
    publish.properties.message_id().as_ref().unwrap().as_str()
}

fn spooled(answer: &Answer, id: &str) {
    let body = format!(r#"{{"id":"{id}","status":"spooled"}}"#);
    assert_eq!((answer.status, &answer.body), (202, &body));
    assert!(answer.has(&format!("message-id: {id}")));
}

#[tokio::test]
async fn what_a_broker_that_is_away_does_not_take_follows_later() {
    for gate in [Gate::Down, Gate::Blocked] {
        let mut rig = Rig::start(with_spool()).await;
        rig.bridge.broker.set(gate);
        spooled(&rig.post("m-1").await, "m-1");
        assert_eq!(rig.spool.usage().messages, 1, "on disk before the answer");
        assert!(rig.bridge.broker.is_idle());
        rig.bridge.broker.set(Gate::Open);
        let taken = rig.bridge.broker.take().await;
        let publish = taken.publish();
        assert_eq!(publish.exchange.as_str(), "orders");
        assert_eq!(publish.routing_key.as_str(), "order.eu");
        assert_eq!(publish.properties.delivery_mode(), &Some(2));
        assert_eq!((id_of(publish), &publish.body), ("m-1", &Bytes::from("x")));
        taken.end(Outcome::Routed);
        rig.is_empty().await;
        assert_eq!(
            (rig.published("spooled"), rig.published("routed")),
            (1.0, 1.0)
        );

        let mut client = rig.bridge.client().await;
        client.send(request("m-2")).await;
        rig.takes("m-2", Outcome::Routed).await;
        let answer = client.answer().await;
        assert_eq!(answer.body, r#"{"id":"m-2","status":"accepted"}"#);
    }
}

#[tokio::test]
async fn what_was_refused_or_is_unknown_follows_under_the_same_id() {
    for outcome in [
        Outcome::Nacked,
        Outcome::Unknown,
        Outcome::Unavailable,
        Outcome::Blocked,
    ] {
        let mut rig = Rig::start(with_spool()).await;
        let mut client = rig.bridge.client().await;
        client.send(request("m-1")).await;
        rig.takes("m-1", outcome).await;
        spooled(&client.answer().await, "m-1");
        rig.takes("m-1", Outcome::Routed).await;
        rig.is_empty().await;
    }
}

#[tokio::test]
async fn what_no_waiting_would_mend_is_not_spooled() {
    for (outcome, status, name) in [
        (Outcome::Unroutable, 502, "unroutable"),
        (Outcome::TooLarge, 413, "body-too-large"),
        (Outcome::Refused(String::new()), 502, "refused-by-broker"),
        (Outcome::Overloaded, 503, "overloaded"),
    ] {
        let mut rig = Rig::start(with_spool()).await;
        let mut client = rig.bridge.client().await;
        client.send(request("m-1")).await;
        rig.takes("m-1", outcome).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.json()["type"], format!("urn:hareway:{name}"));
        assert_eq!(rig.spool.usage(), store::Usage::default());
    }
}

/// The message that is being published is still in line, and nothing passes it.
#[tokio::test]
async fn new_messages_queue_behind_what_is_being_drained() {
    let mut rig = Rig::start(with_spool()).await;
    rig.outage(&["a"]).await;
    rig.bridge.broker.set(Gate::Open);
    let first = rig.bridge.broker.take().await;
    assert_eq!(id_of(first.publish()), "a");
    spooled(&rig.post("b").await, "b");
    assert!(rig.bridge.broker.is_idle());
    first.end(Outcome::Routed);
    rig.takes("b", Outcome::Routed).await;
    rig.is_empty().await;
    let mut client = rig.bridge.client().await;
    client.send(request("c")).await;
    rig.takes("c", Outcome::Routed).await;
    assert!(client.answer().await.body.contains("accepted"));
}

/// Or something would always wait under load: while the last of the line is published, newcomers
/// wait, and then they go directly, or behind it where it did not leave.
#[tokio::test]
async fn the_end_of_the_line_is_closed_to_newcomers() {
    for (outcome, status) in [(Outcome::Routed, "accepted"), (Outcome::Nacked, "spooled")] {
        let mut rig = Rig::start(with_spool()).await;
        rig.outage(&["a", "b"]).await;
        rig.bridge.broker.set(Gate::Open);
        rig.takes("a", Outcome::Routed).await;
        let last = rig.bridge.broker.take().await;
        assert_eq!(id_of(last.publish()), "b");
        let mut client = rig.bridge.client().await;
        client.send(request("c")).await;
        rig.bridge
            .eventually("the call has come in", |bridge| {
                bridge.metric(r#"hareway_in_flight{route="place-order"}"#) == 1.0
            })
            .await;
        last.end(outcome.clone());
        if outcome == Outcome::Nacked {
            rig.takes("b", Outcome::Routed).await;
        }
        rig.takes("c", Outcome::Routed).await;
        assert_eq!(client.answer().await.json()["status"], status);
        rig.is_empty().await;
    }
}

/// Nothing leaves the line past a message that was refused; then batches begin with one again.
#[tokio::test]
async fn a_refused_message_stops_the_line() {
    for trouble in [Outcome::Nacked, Outcome::Unknown] {
        let mut rig = Rig::start(with_spool()).await;
        rig.outage(&["a", "b", "c"]).await;
        rig.bridge.broker.set(Gate::Open);
        rig.takes("a", Outcome::Routed).await;
        rig.takes("b", trouble).await;
        rig.takes("c", Outcome::Routed).await;
        let alone = rig.bridge.broker.take().await;
        assert_eq!(id_of(alone.publish()), "b");
        assert!(rig.bridge.broker.is_idle(), "nothing beside it");
        assert_eq!(rig.spool.usage().messages, 2);
        alone.end(Outcome::Routed);
        rig.takes("c", Outcome::Routed).await;
        rig.is_empty().await;
    }
}

#[tokio::test]
async fn what_the_broker_never_takes_is_set_apart_and_does_not_block_the_line() {
    let mut rig = Rig::start(with_spool()).await;
    rig.outage(&["a", "b", "c", "d"]).await;
    rig.bridge.broker.set(Gate::Open);
    rig.takes("a", Outcome::Unroutable).await;
    rig.takes("b", Outcome::TooLarge).await;
    rig.takes("c", Outcome::Refused("no".to_owned())).await;
    rig.takes("d", Outcome::Routed).await;
    rig.is_empty().await;
    let apart = rig.spool.apart(None, 10, u64::MAX).await.unwrap();
    let found: Vec<(String, &str)> = apart
        .iter()
        .map(|apart| {
            let (_, publish) = apart.stored.as_ref().unwrap();
            (id_of(publish).to_owned(), apart.reason.as_str())
        })
        .collect();
    let expected = [("a", "unroutable"), ("b", "too_large"), ("c", "refused")];
    assert_eq!(found, expected.map(|(id, why)| (id.to_owned(), why)));

    // Returned, it is published again.
    let key = apart.first().unwrap().key;
    assert_eq!(rig.spool.return_to_line(vec![key]).await, Ok(1));
    rig.takes("a", Outcome::Routed).await;
    rig.usage("two are left apart", |usage| {
        (usage.messages, usage.apart) == (0, 2)
    })
    .await;
}

#[tokio::test]
async fn what_no_queue_takes_is_gone_where_the_route_discards() {
    let mut inbound = with_spool();
    inbound.target.unroutable = Unroutable::Discard;
    let mut rig = Rig::start(inbound).await;
    rig.outage(&["a"]).await;
    rig.bridge.broker.set(Gate::Open);
    rig.takes("a", Outcome::Unroutable).await;
    rig.is_empty().await;
    assert_eq!(rig.spool.usage().apart, 0);
    assert_eq!(rig.published("discarded"), 1.0);
}

/// Also while the broker is away; and nothing of it is published when it is back.
#[tokio::test]
async fn what_has_waited_too_long_is_set_apart() {
    let mut inbound = with_spool();
    inbound.spool.as_mut().unwrap().max_age = Some(Duration::from_millis(1));
    let mut rig = Rig::start(inbound).await;
    rig.outage(&["a", "b"]).await;
    rig.usage("both are apart", |usage| {
        (usage.messages, usage.apart) == (0, 2)
    })
    .await;
    rig.bridge.broker.set(Gate::Open);
    let mut client = rig.bridge.client().await;
    client.send(request("c")).await;
    rig.takes("c", Outcome::Routed).await;
    let apart = rig.spool.apart(None, 10, u64::MAX).await.unwrap();
    assert!(apart.iter().all(|apart| apart.reason == "expired"));
}

#[tokio::test]
async fn a_full_spool_is_said_at_once() {
    let mut inbound = with_spool();
    inbound.spool.as_mut().unwrap().max_bytes = 1000;
    let mut rig = Rig::start(inbound).await;
    rig.bridge.broker.set(Gate::Down);
    let mut count = 0;
    let refused = loop {
        let answer = rig.post(&format!("m-{count}")).await;
        if answer.status != 202 {
            break answer;
        }
        count += 1;
        assert!(count < 1000, "the limit holds");
    };
    assert!(count > 0, "there was room for one");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["type"], "urn:hareway:spool-full");
    assert!(refused.head.contains("\nretry-after: "));
    assert!(refused.has(&format!("message-id: m-{count}")));
    assert_eq!(rig.published("spool_full"), 1.0);
    // With room there are 202s again.
    rig.bridge.broker.set(Gate::Open);
    for number in 0..count {
        rig.takes(&format!("m-{number}"), Outcome::Routed).await;
    }
    rig.is_empty().await;
    rig.outage(&["again"]).await;
}

#[tokio::test]
async fn a_store_that_fails_is_said_unless_the_broker_takes_the_message() {
    let mut rig = Rig::start(with_spool()).await;
    rig.store.close().await;
    for (outcome, status, name) in [
        (Outcome::Nacked, 503, "store-unavailable"),
        (Outcome::Unknown, 504, "outcome-unknown"),
    ] {
        let mut client = rig.bridge.client().await;
        client.send(request("m-1")).await;
        rig.takes("m-1", outcome).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["type"], format!("urn:hareway:{name}"));
    }
    rig.bridge.broker.set(Gate::Down);
    let answer = rig.post("m-2").await;
    assert_eq!(answer.json()["type"], "urn:hareway:store-unavailable");
    rig.bridge.broker.set(Gate::Open);
    let mut client = rig.bridge.client().await;
    client.send(request("m-3")).await;
    rig.takes("m-3", Outcome::Routed).await;
    assert_eq!(client.answer().await.status, 202);
}

/// A disk that says neither yes nor no: callers are told so in time, and what it takes later is
/// published as any other.
#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_callers() {
    let mut rig = Rig::start(with_spool()).await;
    let mut doubtful = rig.bridge.client().await;
    doubtful.send(request("m-1")).await;
    let taken = rig.bridge.broker.take().await;
    let hanging = rig.store.hang().await;
    // Only the disk is waited for from here on.
    tokio::time::pause();
    let begun = Instant::now();
    taken.end(Outcome::Unknown);
    let answer = doubtful.answer().await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.json()["type"], "urn:hareway:outcome-unknown");
    rig.bridge.broker.set(Gate::Down);
    let answer = rig.post("m-2").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["type"], "urn:hareway:store-unavailable");
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("the message may be stored"), "{detail}");
    assert!(answer.has("message-id: m-2") && answer.head.contains("\nretry-after: "));
    let waited = begun.elapsed();
    assert!(
        waited < 3 * super::super::patience::STORE_LIMIT,
        "{waited:?}"
    );
    assert_eq!(rig.published("store_unavailable"), 2.0);

    tokio::time::resume();
    drop(hanging);
    rig.usage("both are stored", |usage| usage.messages == 2)
        .await;
    rig.bridge.broker.set(Gate::Open);
    for id in ["m-1", "m-2"] {
        rig.takes(id, Outcome::Routed).await;
    }
    rig.is_empty().await;
}

/// What was certainly not stored is told apart.
#[tokio::test]
async fn a_disk_that_refuses_says_that_nothing_is_stored() {
    let rig = Rig::start(with_spool()).await;
    rig.bridge.broker.set(Gate::Down);
    rig.store.close().await;
    let detail = rig.post("m-1").await.json()["detail"].to_string();
    assert!(detail.contains("the message was not stored"), "{detail}");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_take_its_message_along() {
    let mut rig = Rig::start(with_spool()).await;
    let mut client = rig.bridge.client().await;
    client.send(request("m-1")).await;
    let taken = rig.bridge.broker.take().await;
    drop(client);
    rig.bridge
        .eventually("the client is seen to have left", |bridge| {
            bridge.metric(r#"hareway_http_requests_total{route="place-order",status="499"}"#) == 1.0
        })
        .await;
    rig.bridge.broker.set(Gate::Down);
    taken.end(Outcome::Unknown);
    rig.usage("it is spooled", |usage| usage.messages == 1)
        .await;
}

/// Newcomers wait for the end of a line only where it is near: few messages may be many bytes.
#[tokio::test]
async fn large_messages_are_many_though_they_are_few() {
    let mut rig = Rig::start(with_spool()).await;
    rig.bridge.broker.set(Gate::Down);
    for _ in 0..9 {
        let large = order("large", vec![b'x'; 3 << 20].into());
        rig.spool.append(large).await.unwrap();
    }
    rig.bridge.broker.set(Gate::Open);
    rig.takes("large", Outcome::Routed).await;
    // Of eight, as many as four batches of two have, the first two are on their way.
    let on_its_way = rig.bridge.broker.take().await;
    let begun = Instant::now();
    // No body: those on their way take all the room that there is for bodies.
    let newcomer = post("/orders/eu", "Message-Id: m-1\r\n", "");
    let answer = rig.bridge.client().await.ask(newcomer).await;
    spooled(&answer, "m-1");
    assert!(
        begun.elapsed() < PATIENCE / 2,
        "it waited for the line's end"
    );
    on_its_way.end(Outcome::Routed);
    for _ in 0..7 {
        rig.takes("large", Outcome::Routed).await;
    }
    rig.takes("m-1", Outcome::Routed).await;
    rig.is_empty().await;
}

/// A batch under way when the end comes is followed to its end, and removed.
#[tokio::test]
async fn stopping_finishes_the_batch() {
    let mut rig = Rig::start(with_spool()).await;
    rig.outage(&["a", "b"]).await;
    rig.bridge.broker.set(Gate::Open);
    let taken = rig.bridge.broker.take().await;
    rig.bridge.stop.cancel();
    taken.end(Outcome::Routed);
    rig.usage("the first is removed", |usage| usage.messages == 1)
        .await;
    assert!(rig.bridge.broker.is_idle(), "no batch is begun any more");
}
