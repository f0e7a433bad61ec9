//! A call that is repeated is carried out once, or again under the same id where nobody knows.

use std::time::Duration;

use http::HeaderMap;
use lapin::types::{FieldTable, ShortString};

use super::{Bridge, accepted, inbound, post, route};
use crate::{
    amqp::{
        Outcome,
        publisher::Gate,
        testing::{Taken, reply},
    },
    config::model::{self, Answer, Correlate, HeaderRules, Reply, Unroutable},
    message::Message,
    server::testing::{Answer as Got, Client, PATIENCE},
    store::Store,
    template::{Part, Source, Template},
};

const ROUTE: &str = "place-order";

/// A bridge with one route, and its store.
struct Rig {
    bridge: Bridge,
    store: Store,
    _folder: tempfile::TempDir,
}

fn header(name: &str) -> Template {
    Template::from_parts(vec![Part::Value {
        source: Source::Header(name.into()),
        verbatim: false,
        fallback: None,
    }])
}

fn settings() -> model::Idempotency {
    model::Idempotency {
        key: header("idempotency-key"),
        scope: None,
        required: false,
        ttl: Duration::from_secs(3600),
        max_bytes: 1 << 20,
    }
}

fn replies() -> Answer {
    Answer::Reply(Reply {
        timeout: PATIENCE,
        queue: None,
        correlate: Correlate::CorrelationId,
        status: None,
        headers: HeaderRules::default(),
        waiting: 10,
    })
}

impl Rig {
    async fn start() -> Self {
        Self::with(settings(), accepted(), |_| {}).await
    }

    async fn with(
        settings: model::Idempotency,
        answer: Answer,
        change: impl FnOnce(&mut model::Inbound),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut inbound = inbound(answer);
        inbound.idempotency = Some(settings);
        change(&mut inbound);
        let bridge = Bridge::with_store(10, vec![route(ROUTE, inbound)], Some(&store)).await;
        Self {
            bridge,
            store,
            _folder: folder,
        }
    }

    async fn send(&self, request: &str) -> Client {
        let mut client = self.bridge.client().await;
        client.send(request).await;
        client
    }

    async fn ask(&self, request: &str) -> Got {
        self.send(request).await.answer().await
    }

    /// The answer to a request that is published, and the id under which it was.
    async fn published(&mut self, request: &str, outcome: Outcome) -> (Got, String) {
        let mut client = self.send(request).await;
        let taken = self.bridge.broker.take().await;
        let id = id(&taken);
        taken.end(outcome);
        (client.answer().await, id)
    }

    fn outcome(&self, outcome: &str) -> f64 {
        let labels = format!(r#"{{outcome="{outcome}",route="{ROUTE}"}}"#);
        self.bridge
            .metric(&format!("hareway_idempotency_total{labels}"))
    }

    async fn outcome_is(&self, outcome: &str, count: f64) {
        let holds = |_: &Bridge| self.outcome(outcome) == count;
        self.bridge.eventually(outcome, holds).await;
    }
}

fn id(taken: &Taken) -> String {
    let properties = &taken.publish().properties;
    properties.message_id().as_ref().unwrap().to_string()
}

/// A call under the key `k`, whose message is to have this id.
fn keyed(id: &str, body: &str) -> String {
    let headers = format!("Idempotency-Key: \"k\"\r\nMessage-Id: {id}\r\n");
    post("/orders/eu", &headers, body)
}

fn is_problem(answer: &Got, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.json()["type"], format!("urn:hareway:{name}"));
}

#[tokio::test]
async fn a_repeat_has_the_first_answer_and_publishes_nothing() {
    let mut rig = Rig::start().await;
    let (first, id) = rig.published(&keyed("m-1", "x"), Outcome::Routed).await;
    assert_eq!((first.status, id.as_str()), (202, "m-1"));
    assert!(!first.head.contains("idempotency-replayed"));
    let again = rig.ask(&keyed("m-2", "x")).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert!(again.has("message-id: m-1") && again.has("content-type: application/json"));
    assert!(again.has("idempotency-replayed: true"));
    assert!(rig.bridge.broker.is_idle());
    assert_eq!((rig.outcome("first"), rig.outcome("replayed")), (1.0, 1.0));
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_and_another_payload_is_refused() {
    let mut rig = Rig::start().await;
    let mut first = rig.send(&keyed("m-1", "x")).await;
    let taken = rig.bridge.broker.take().await;
    let early = rig.ask(&keyed("m-2", "x")).await;
    is_problem(&early, 409, "idempotency-in-progress");
    assert!(early.has("retry-after: 1"));
    let other = rig.ask(&keyed("m-2", "y")).await;
    is_problem(&other, 422, "idempotency-conflict");
    taken.end(Outcome::Routed);
    assert_eq!(first.answer().await.status, 202);
    let other = rig.ask(&keyed("m-2", "y")).await;
    is_problem(&other, 422, "idempotency-conflict");
    assert!(rig.bridge.broker.is_idle());
    let counts = ["first", "in_progress", "conflict"].map(|outcome| rig.outcome(outcome));
    assert_eq!(counts, [1.0, 1.0, 2.0]);
}

#[tokio::test]
async fn a_refusal_that_is_certain_frees_the_key() {
    let mut rig = Rig::start().await;
    for outcome in [
        Outcome::Unroutable,
        Outcome::TooLarge,
        Outcome::Refused("no".to_owned()),
        Outcome::Unavailable,
        Outcome::Blocked,
        Outcome::Overloaded,
    ] {
        let label = outcome.label();
        let (refused, id) = rig.published(&keyed(label, "x"), outcome).await;
        assert!(refused.status >= 400, "{label}");
        assert_eq!(id, label);
    }
    rig.bridge.broker.set(Gate::Down);
    is_problem(
        &rig.ask(&keyed("m-1", "x")).await,
        503,
        "broker-unavailable",
    );
    rig.bridge.broker.set(Gate::Open);
    let (answer, id) = rig.published(&keyed("m-2", "other"), Outcome::Routed).await;
    assert_eq!((answer.status, id.as_str()), (202, "m-2"));
    assert_eq!(rig.outcome("first"), 8.0);
}

#[tokio::test]
async fn a_call_that_may_have_published_is_taken_over_under_the_same_id() {
    for outcome in [Outcome::Unknown, Outcome::Nacked] {
        let mut rig = Rig::start().await;
        let (doubtful, _) = rig.published(&keyed("m-1", "x"), outcome).await;
        assert!(doubtful.status >= 500);
        let other = rig.ask(&keyed("m-2", "y")).await;
        is_problem(&other, 422, "idempotency-conflict");
        // A refusal does not make the first attempt unpublished.
        let (refused, id) = rig.published(&keyed("m-2", "x"), Outcome::Unroutable).await;
        assert_eq!((refused.status, id.as_str()), (502, "m-1"));
        let (answer, id) = rig.published(&keyed("m-3", "x"), Outcome::Routed).await;
        assert_eq!((answer.status, id.as_str()), (202, "m-1"));
        assert!(answer.has("message-id: m-1"), "{}", answer.head);
        assert!(!answer.head.contains("idempotency-replayed"));
        let again = rig.ask(&keyed("m-4", "x")).await;
        assert!(again.has("idempotency-replayed: true"));
        assert_eq!(rig.outcome("taken_over"), 2.0);
    }
}

#[tokio::test]
async fn discarded_is_an_answer_like_any_other() {
    let discards = |inbound: &mut model::Inbound| inbound.target.unroutable = Unroutable::Discard;
    let mut rig = Rig::with(settings(), accepted(), discards).await;
    let (first, _) = rig.published(&keyed("m-1", "x"), Outcome::Unroutable).await;
    let again = rig.ask(&keyed("m-2", "x")).await;
    assert_eq!(again.body, first.body);
    assert!(again.body.contains("discarded"));
}

#[tokio::test]
async fn spooled_is_an_answer_like_any_other() {
    let spools = |inbound: &mut model::Inbound| {
        inbound.spool = Some(model::Spool {
            max_bytes: 1 << 20,
            max_age: None,
        });
    };
    let mut rig = Rig::with(settings(), accepted(), spools).await;
    rig.bridge.broker.set(Gate::Down);
    let first = rig.ask(&keyed("m-1", "x")).await;
    assert_eq!(first.body, r#"{"id":"m-1","status":"spooled"}"#);
    let again = rig.ask(&keyed("m-2", "x")).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert!(again.has("idempotency-replayed: true"));
    rig.bridge.broker.set(Gate::Open);
    let taken = rig.bridge.broker.take().await;
    assert_eq!(id(&taken), "m-1");
    taken.end(Outcome::Routed);
    assert!(rig.ask(&keyed("m-3", "x")).await.body.contains("spooled"));
    assert!(rig.bridge.broker.is_idle());
}

#[tokio::test]
async fn a_client_that_leaves_finds_its_answer_later() {
    let mut rig = Rig::start().await;
    let first = rig.send(&keyed("m-1", "x")).await;
    let taken = rig.bridge.broker.take().await;
    drop(first);
    let left = |bridge: &Bridge| {
        bridge.metric(r#"hareway_http_requests_total{route="place-order",status="499"}"#) == 1.0
    };
    rig.bridge.eventually("the client has left", left).await;
    is_problem(
        &rig.ask(&keyed("m-2", "x")).await,
        409,
        "idempotency-in-progress",
    );
    taken.end(Outcome::Routed);
    let routed = |bridge: &Bridge| {
        bridge.metric(r#"hareway_published_total{outcome="routed",route="place-order"}"#) == 1.0
    };
    rig.bridge
        .eventually("the publish is counted", routed)
        .await;
    loop {
        let again = rig.ask(&keyed("m-3", "x")).await;
        if again.status != 409 {
            assert_eq!(again.status, 202);
            assert!(again.has("message-id: m-1") && again.has("idempotency-replayed: true"));
            break;
        }
    }
    assert!(rig.bridge.broker.is_idle());
}

#[tokio::test]
async fn without_a_key_nothing_is_kept() {
    let mut rig = Rig::start().await;
    let request = post("/orders/eu", "Message-Id: m-1\r\n", "x");
    for _ in 0..2 {
        let (answer, _) = rig.published(&request, Outcome::Routed).await;
        assert_eq!(answer.status, 202);
    }
    assert_eq!(rig.outcome("first"), 0.0);
}

#[tokio::test]
async fn a_key_that_is_required_or_no_key_is_asked_for() {
    let mut required = settings();
    required.required = true;
    let mut rig = Rig::with(required, accepted(), |_| {}).await;
    let missing = rig.ask(&post("/orders/eu", "", "x")).await;
    is_problem(&missing, 400, "idempotency-key-missing");
    assert!(missing.body.contains("the header `idempotency-key`"));
    for headers in [
        "Idempotency-Key: \"k\r\n".to_owned(),
        "Idempotency-Key: a\r\nIdempotency-Key: b\r\n".to_owned(),
        format!("Idempotency-Key: {}\r\n", "x".repeat(256)),
    ] {
        let refused = rig.ask(&post("/orders/eu", &headers, "x")).await;
        is_problem(&refused, 400, "bad-request");
    }
    assert_eq!(rig.outcome("refused"), 4.0);
    assert!(rig.bridge.broker.is_idle());
}

#[tokio::test]
async fn scopes_keep_equal_keys_apart() {
    let mut scoped = settings();
    scoped.scope = Some(header("x-tenant"));
    let mut rig = Rig::with(scoped, accepted(), |_| {}).await;
    let of = |tenant: &str| {
        let headers = format!("Idempotency-Key: k\r\nX-Tenant: {tenant}\r\n");
        post("/orders/eu", &headers, tenant)
    };
    for tenant in ["one", "two"] {
        let (answer, _) = rig.published(&of(tenant), Outcome::Routed).await;
        assert_eq!(answer.status, 202, "{tenant}");
    }
    assert!(rig.ask(&of("one")).await.has("idempotency-replayed: true"));
    let unknown = rig.ask(&keyed("m-1", "x")).await;
    is_problem(&unknown, 400, "bad-request");
}

#[tokio::test]
async fn a_full_store_refuses_new_keys_and_still_knows_the_old() {
    let mut narrow = settings();
    narrow.max_bytes = 400;
    let mut rig = Rig::with(narrow, accepted(), |_| {}).await;
    rig.published(&keyed("m-1", "x"), Outcome::Routed).await;
    let new = post("/orders/eu", "Idempotency-Key: other\r\n", "x");
    let refused = rig.ask(&new).await;
    is_problem(&refused, 503, "idempotency-full");
    assert!(
        rig.ask(&keyed("m-2", "x"))
            .await
            .has("idempotency-replayed: true")
    );
    assert!(rig.bridge.broker.is_idle());
}

#[tokio::test]
async fn without_a_store_nothing_is_published() {
    let mut rig = Rig::start().await;
    let (_, _) = rig.published(&keyed("m-1", "x"), Outcome::Routed).await;
    let mut first = rig
        .send(&post("/orders/eu", "Idempotency-Key: o\r\n", "x"))
        .await;
    let taken = rig.bridge.broker.take().await;
    rig.store.close().await;
    let refused = rig.ask(&keyed("m-2", "x")).await;
    is_problem(&refused, 503, "store-unavailable");
    assert!(refused.head.contains("\nretry-after: "));
    assert!(rig.bridge.broker.is_idle());
    // What is published is true, kept or not.
    taken.end(Outcome::Routed);
    assert_eq!(first.answer().await.status, 202);
}

#[tokio::test]
async fn an_expired_key_is_new() {
    let mut short = settings();
    // Over before the first call is answered.
    short.ttl = Duration::from_nanos(1);
    let mut rig = Rig::with(short, accepted(), |_| {}).await;
    rig.published(&keyed("m-1", "x"), Outcome::Routed).await;
    let (answer, id) = rig.published(&keyed("m-2", "y"), Outcome::Routed).await;
    assert_eq!((answer.status, id.as_str()), (202, "m-2"));
}

// === Request/reply ===

fn replied(taken: &Taken, body: &'static str) -> Message {
    let properties = &taken.publish().properties;
    let id: ShortString = properties.correlation_id().clone().unwrap();
    let mut headers = FieldTable::default();
    let status = lapin::types::AMQPValue::LongInt(418);
    headers.insert("http-status".into(), status);
    let text = lapin::types::AMQPValue::LongString("w1".into());
    headers.insert("x-worker".into(), text);
    Message {
        exchange: ShortString::default(),
        routing_key: "hareway.reply.test".into(),
        redelivered: false,
        properties: lapin::BasicProperties::default()
            .with_correlation_id(id)
            .with_headers(headers),
        body: body.into(),
    }
}

async fn asking(rig: &mut Rig, request: &str) -> (Client, Taken) {
    let client = rig.send(request).await;
    (client, rig.bridge.broker.take().await)
}

#[tokio::test]
async fn a_reply_is_kept_whatever_its_status() {
    let mut rig = Rig::with(settings(), replies(), |_| {}).await;
    let request = post(
        "/orders/eu",
        "Idempotency-Key: k\r\nMessage-Id: m-1\r\nX-Request-Id: one\r\n",
        "x",
    );
    let (mut client, taken) = asking(&mut rig, &request).await;
    let message = replied(&taken, "no coffee");
    taken.end(Outcome::Routed);
    reply(&rig.bridge.replies, message);
    let first = client.answer().await;
    assert!(first.has("x-request-id: one"), "{}", first.head);
    let again = post(
        "/orders/eu",
        "Idempotency-Key: k\r\nX-Correlation-Id: two\r\n",
        "x",
    );
    let again = rig.ask(&again).await;
    assert_eq!((again.status, again.body.as_str()), (418, "no coffee"));
    for line in [
        "x-worker: w1",
        "message-id: m-1",
        "idempotency-replayed: true",
        "x-correlation-id: two",
    ] {
        assert!(again.has(line), "{line} is missing in {}", again.head);
    }
    assert!(!again.head.contains("x-request-id"), "{}", again.head);
    assert!(rig.bridge.broker.is_idle());
}

#[tokio::test]
async fn a_call_whose_client_left_is_taken_over() {
    let mut rig = Rig::with(settings(), replies(), |_| {}).await;
    let (client, taken) = asking(&mut rig, &keyed("m-1", "x")).await;
    taken.end(Outcome::Routed);
    drop(client);
    let empty = |bridge: &Bridge| bridge.replies.waiting() == 0;
    rig.bridge.eventually("the waiter has gone", empty).await;
    let mut client = rig.bridge.client().await;
    let taken = loop {
        client.send(keyed("m-2", "x")).await;
        tokio::select! {
            taken = rig.bridge.broker.take() => break taken,
            early = client.answer() => is_problem(&early, 409, "idempotency-in-progress"),
        }
    };
    assert_eq!(id(&taken), "m-1");
    let message = replied(&taken, "tea");
    taken.end(Outcome::Routed);
    reply(&rig.bridge.replies, message);
    assert_eq!(client.answer().await.body, "tea");
    assert!(
        rig.ask(&keyed("m-3", "x"))
            .await
            .has("idempotency-replayed: true")
    );
    rig.outcome_is("taken_over", 1.0).await;
}

#[tokio::test]
async fn a_reply_that_did_not_come_leaves_the_key_for_a_repeat() {
    let hasty = |inbound: &mut model::Inbound| {
        if let Answer::Reply(reply) = &mut inbound.answer {
            reply.timeout = Duration::from_millis(200);
        }
    };
    let mut rig = Rig::with(settings(), replies(), hasty).await;
    let (mut client, taken) = asking(&mut rig, &keyed("m-1", "x")).await;
    taken.end(Outcome::Routed);
    is_problem(&client.answer().await, 504, "reply-timeout");
    let mut client = rig.send(&keyed("m-2", "x")).await;
    let taken = rig.bridge.broker.take().await;
    assert_eq!(id(&taken), "m-1");
    drop(taken);
    assert_eq!(client.answer().await.status, 504);
}

#[tokio::test]
async fn the_answer_of_a_route_is_kept_with_its_headers() {
    let mut headers = HeaderMap::new();
    headers.insert("x-hook", http::HeaderValue::from_static("seen"));
    let answer = Answer::Accepted(model::Accepted {
        status: http::StatusCode::OK,
        body: Some(bytes::Bytes::from_static(b"ok")),
        headers,
    });
    let mut rig = Rig::with(settings(), answer, |_| {}).await;
    rig.published(&keyed("m-1", "x"), Outcome::Routed).await;
    let again = rig.ask(&keyed("m-2", "x")).await;
    assert_eq!((again.status, again.body.as_str()), (200, "ok"));
    assert!(again.has("x-hook: seen") && again.has("message-id: m-1"));
}
