//! A call that is repeated has its first answer, and its message is in the queue once; where that
//! cannot be known, once more under the same id.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use crate::support::{
    Bridge, Client, Proxy, Rig, SOON, Worker,
    amqp::Got,
    bridge::Options,
    broker::{address_of, with_address},
    client::{Raw, Reply},
    eventually, must,
    worker::reply,
};

/// An accept route whose `idempotency` is this. No confirm is given up because a machine is slow.
fn accepting(idempotency: &str) -> String {
    format!(
        r#"
drain_timeout: 90s
amqp: {{ lanes: 1 }}
store: {{ path: store }}
queues:
  PFX-in: {{ type: classic }}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: {{ queue: PFX-in, confirm_timeout: 60s }} }}
    idempotency: {idempotency}
"#
    )
}

fn asking(reply: &str) -> String {
    format!(
        r#"
store: {{ path: store }}
queues:
  PFX-ask: {{ type: classic }}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: PFX-ask }}
    reply: {reply}
    idempotency: true
"#
    )
}

/// A call under this key, whose message is to have this id.
async fn call(client: &Client, key: &str, id: &str, body: &'static str) -> Reply {
    let call = client.post("/take").header("idempotency-key", key);
    call.header("message-id", id).body(body).send_plain().await
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotency-replayed") == "true"
}

async fn outcome_is(rig: &Rig, bridge: &Bridge, outcome: &str, count: f64) {
    let route = rig.name("take");
    let labels = [("route", route.as_str()), ("outcome", outcome)];
    let name = "hareway_idempotency_total";
    bridge.metric_is(name, &labels, count).await;
}

/// A bridge with a proxy between it and the broker; its one lane has published already.
async fn behind_proxy(rig: &Rig, yaml: &str) -> (Proxy, Bridge) {
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    let bridge = rig.bridge_with(yaml, options).await;
    bridge.client().post("/take").send().await.expect(202);
    rig.amqp().purge(&rig.name("in")).await;
    (proxy, bridge)
}

async fn kill(bridge: Bridge) {
    bridge.signal("KILL");
    bridge.exit(SOON).await;
}

/// What the queue holds once it holds this many.
async fn holds(rig: &Rig, messages: u32) -> Vec<Got> {
    let queue = rig.name("in");
    rig.settles_at(&queue, messages).await;
    rig.amqp().drain(&queue).await
}

// === Accept ===

/// 64 calls at once under one key: one message; every call has its 202 under the one id, or is told
/// that the first is still under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_published() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&accepting("true")).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..64 {
        let client = bridge.client();
        calls.spawn(async move { call(&client, "one", &format!("m-{number}"), "x").await });
    }
    let mut ids = BTreeSet::new();
    for reply in calls.join_all().await {
        match reply.status.as_u16() {
            202 => drop(ids.insert(reply.header("message-id").to_owned())),
            _ => drop(reply.expect_problem(409, "idempotency-in-progress")),
        }
    }
    let last = call(&bridge.client(), "one", "m-last", "x")
        .await
        .expect(202);
    assert!(is_replayed(&last));
    ids.insert(last.header("message-id").to_owned());
    let got = holds(&rig, 1).await;
    assert_eq!(ids, BTreeSet::from([got[0].message_id().to_owned()]));
    outcome_is(&rig, &bridge, "first", 1.0).await;
    let ratio = [("limit", "idempotency")];
    let used = bridge.metric("hareway_limit_used_ratio", &ratio).await;
    assert!(used > 0.0 && used < 0.01, "{used}");
}

/// Each of many keys: as many messages as keys, however often each is called.
#[tokio::test]
async fn many_keys_are_told_apart() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&accepting("true")).await;
    let calls = (0..200).map(|number| {
        let client = bridge.client();
        async move {
            let key = format!("key-{}", number % 40);
            let reply = eventually(SOON, "an answer", async || {
                let reply = call(&client, &key, "", "x").await;
                must(reply.status != 409, || reply.text()).map(|()| reply)
            });
            let reply = reply.await.expect(202);
            (key, reply.header("message-id").to_owned())
        }
    });
    let pairs = futures_util::future::join_all(calls).await;
    let pairs: BTreeSet<_> = pairs.into_iter().collect();
    assert_eq!(pairs.len(), 40, "one id for each key");
    let got = holds(&rig, 40).await;
    let ids: BTreeSet<_> = got.iter().map(Got::message_id).collect();
    assert_eq!(ids, pairs.iter().map(|(_, id)| id.as_str()).collect());
}

/// The stored answer says the same as the first; another payload is refused; a key may be quoted or
/// bare, and travels with the message as before.
#[tokio::test]
async fn a_repeat_is_answered_and_another_payload_refused() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&accepting("{ required: true }")).await;
    let client = bridge.client();
    let first = call(&client, "\"8e03978e\"", "m-1", "x").await.expect(202);
    assert!(!is_replayed(&first));
    let again = call(&client, "8e03978e", "m-2", "x").await.expect(202);
    assert!(is_replayed(&again));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("message-id"), "m-1");
    assert_eq!(again.header("content-type"), first.header("content-type"));
    call(&client, "8e03978e", "m-3", "y")
        .await
        .expect_problem(422, "idempotency-conflict");
    let longer = client
        .post("/take?x=1")
        .header("idempotency-key", "8e03978e");
    longer
        .body("x")
        .send()
        .await
        .expect_problem(422, "idempotency-conflict");
    client
        .post("/take")
        .send()
        .await
        .expect_problem(400, "idempotency-key-missing");
    call(&client, "\"8e0", "m-4", "x")
        .await
        .expect_problem(400, "bad-request");
    let got = holds(&rig, 1).await;
    assert_eq!(got[0].message_id(), "m-1");
    assert_eq!(got[0].header("idempotency-key"), "\"8e03978e\"");
    outcome_is(&rig, &bridge, "conflict", 2.0).await;
    outcome_is(&rig, &bridge, "refused", 2.0).await;
}

/// Senders of webhooks have no such header: the event's id in the body serves. Without one a
/// request is taken as one that is never repeated.
#[tokio::test]
async fn the_key_may_be_in_the_body() {
    let rig = Rig::new().await;
    let yaml = accepting(r#"{ key: "{json:/id}", scope: "{header.x-tenant:-none}" }"#);
    let bridge = rig.bridge(&yaml).await;
    let client = bridge.client();
    let event = r#"{"id":"evt_1"}"#;
    let hook = || client.post("/take").body(event);
    assert!(!is_replayed(&hook().send().await.expect(202)));
    assert!(is_replayed(&hook().send().await.expect(202)));
    let other = hook().header("x-tenant", "two").send().await.expect(202);
    assert!(!is_replayed(&other), "another scope");
    for body in ["{}", "{}", "no JSON"] {
        let reply = client.post("/take").body(body).send().await.expect(202);
        assert!(!is_replayed(&reply));
    }
    assert_eq!(holds(&rig, 5).await.len(), 5);
}

/// A key is new again when its time is over, and its room is given back.
#[tokio::test]
async fn a_key_lives_for_its_time() {
    let rig = Rig::new().await;
    let yaml = accepting("{ ttl: 8s, max_bytes: 400B }");
    // A key must not be forgotten before its first call has its answer.
    let yaml = yaml.replace("confirm_timeout: 60s", "confirm_timeout: 8s");
    let bridge = rig.bridge(&yaml).await;
    let client = bridge.client();
    let begun = Instant::now();
    call(&client, "one", "m-1", "x").await.expect(202);
    eventually(SOON, "the key is new", async || {
        let reply = call(&client, "one", "m-2", "y").await;
        must(reply.status == 202, || reply.text())
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_secs(8));
    // There is room for one key only.
    eventually(SOON, "another key has room", async || {
        let reply = call(&client, "two", "m-3", "x").await;
        match reply.status.as_u16() {
            202 => Ok(()),
            _ => Err(reply.expect_problem(503, "idempotency-full").text()),
        }
    })
    .await;
    let ids: Vec<_> = holds(&rig, 3).await;
    assert_eq!(
        ids.iter().map(Got::message_id).collect::<Vec<_>>(),
        ["m-1", "m-2", "m-3"]
    );
}

/// A refusal that is certain frees the key; one that is not leaves it to a repeat under its id.
#[tokio::test]
async fn what_becomes_of_a_key_depends_on_what_is_known() {
    let rig = Rig::new().await;
    let (proxy, bridge) = behind_proxy(&rig, &accepting("true")).await;
    let client = bridge.client();
    rig.amqp().delete_queue(&rig.name("in")).await;
    call(&client, "one", "m-1", "x")
        .await
        .expect_problem(502, "unroutable");
    rig.amqp().queue(&rig.name("in"), &[]).await;
    call(&client, "one", "m-2", "y").await.expect(202);
    assert_eq!(holds(&rig, 1).await[0].message_id(), "m-2");

    // The message arrives, and the connection is gone before its confirm does.
    proxy.set(|weather| weather.stall_down = true);
    let doubtful = bridge.client();
    let doubtful = tokio::spawn(async move { call(&doubtful, "two", "m-3", "x").await });
    rig.settles_at(&rig.name("in"), 1).await;
    proxy.cut();
    proxy.resume();
    let reply = doubtful.await.expect("no panic");
    reply.expect_problem(504, "outcome-unknown");
    bridge.ready(SOON).await;
    let reply = eventually(SOON, "a connection", async || {
        let reply = call(&client, "two", "m-4", "x").await;
        must(reply.status == 202, || reply.text()).map(|()| reply)
    })
    .await;
    assert_eq!(reply.header("message-id"), "m-3");
    let got = rig.amqp().drain(&rig.name("in")).await;
    // Once more for each attempt that was lost with a connection as well.
    assert!(got.len() >= 2, "{got:?}");
    assert!(got.iter().all(|got| got.message_id() == "m-3"), "{got:?}");
}

/// The client leaves while the confirm is on its way: the message is published, and whoever asks
/// again has the answer.
#[tokio::test]
async fn a_client_that_leaves_finds_its_answer_later() {
    let rig = Rig::new().await;
    let (proxy, bridge) = behind_proxy(&rig, &accepting("true")).await;
    proxy.set(|weather| weather.stall_down = true);
    let mut raw = Raw::connect(bridge.http()).await;
    raw.write(
        b"POST /take HTTP/1.1\r\nHost: x\r\nIdempotency-Key: one\r\nMessage-Id: m-1\r\n\
          Content-Length: 1\r\n\r\nx",
    )
    .await;
    rig.settles_at(&rig.name("in"), 1).await;
    drop(raw);
    proxy.resume();
    let client = bridge.client();
    let reply = eventually(SOON, "an answer", async || {
        let reply = call(&client, "one", "m-2", "x").await;
        must(reply.status == 202, || reply.text()).map(|()| reply)
    })
    .await;
    assert_eq!(reply.header("message-id"), "m-1");
    let got = rig.amqp().drain(&rig.name("in")).await;
    // Where the confirm came too late for the first call, the repeat has published once more.
    let labels = [("outcome", "taken_over")];
    let again = bridge.metric("hareway_idempotency_total", &labels).await;
    assert!(got.len() == 1 || got.len() as f64 <= 1.0 + again, "{got:?}");
    assert!(got.iter().all(|got| got.message_id() == "m-1"), "{got:?}");
}

// === Restarts ===

/// Killed after the key was begun and before the broker had the message: a repeat publishes it,
/// under the id of the first.
#[tokio::test]
async fn killed_before_the_publish() {
    let rig = Rig::new().await;
    let (proxy, bridge) = behind_proxy(&rig, &accepting("true")).await;
    proxy.stall();
    let client = bridge.client();
    let first = tokio::spawn(async move {
        let call = client.post("/take").header("idempotency-key", "one");
        call.header("message-id", "m-1").body("x").attempt().await
    });
    // It is counted when the key is on the disk.
    outcome_is(&rig, &bridge, "first", 1.0).await;
    kill(bridge).await;
    first
        .await
        .expect("no panic")
        .expect_err("killed before it could answer");
    proxy.cut();
    let bridge = rig.bridge(&accepting("true")).await;
    rig.settles_at(&rig.name("in"), 0).await;
    let client = bridge.client();
    let other = call(&client, "one", "m-2", "y").await;
    other.expect_problem(422, "idempotency-conflict");
    let reply = call(&client, "one", "m-2", "x").await.expect(202);
    assert_eq!(reply.header("message-id"), "m-1");
    assert!(is_replayed(&call(&client, "one", "m-3", "x").await));
    assert_eq!(holds(&rig, 1).await[0].message_id(), "m-1");
    outcome_is(&rig, &bridge, "taken_over", 1.0).await;
}

/// Killed after the broker had the message and before its confirm came: a repeat publishes it once
/// more, under the same id.
#[tokio::test]
async fn killed_between_publish_and_confirm() {
    let rig = Rig::new().await;
    let yaml = accepting("true");
    let (proxy, bridge) = behind_proxy(&rig, &yaml).await;
    proxy.set(|weather| weather.stall_down = true);
    let client = bridge.client();
    let first = tokio::spawn(async move {
        let call = client.post("/take").header("idempotency-key", "one");
        call.header("message-id", "m-1").body("x").attempt().await
    });
    rig.settles_at(&rig.name("in"), 1).await;
    kill(bridge).await;
    first
        .await
        .expect("no panic")
        .expect_err("killed before it could answer");
    let bridge = rig.bridge(&yaml).await;
    let client = bridge.client();
    let reply = call(&client, "one", "m-2", "x").await.expect(202);
    assert_eq!(reply.header("message-id"), "m-1");
    assert!(is_replayed(&call(&client, "one", "m-3", "x").await));
    let got = holds(&rig, 2).await;
    assert!(got.iter().all(|got| got.message_id() == "m-1"), "{got:?}");
}

/// Killed after the answer: a repeat has the same one.
#[tokio::test]
async fn killed_after_the_answer() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&accepting("true")).await;
    let first = call(&bridge.client(), "one", "m-1", "x").await.expect(202);
    kill(bridge).await;
    let bridge = rig.bridge(&accepting("true")).await;
    let client = bridge.client();
    let again = call(&client, "one", "m-2", "x").await.expect(202);
    assert!(is_replayed(&again));
    assert_eq!(
        (again.body, again.headers.get("message-id")),
        (first.body, first.headers.get("message-id"))
    );
    call(&client, "one", "m-3", "y")
        .await
        .expect_problem(422, "idempotency-conflict");
    assert_eq!(holds(&rig, 1).await.len(), 1);
}

// === Request/reply ===

/// The worker is asked once; its reply, whatever the status, is the answer to every call, and each
/// caller has its own correlation id back.
#[tokio::test]
async fn a_reply_is_kept_and_the_worker_asked_once() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&asking("{ timeout: 9s }")).await;
    let worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        let mut said = reply(request, "no coffee");
        let headers = [("http-status", lapin::types::AMQPValue::LongInt(418))];
        said.properties = said
            .properties
            .with_headers(crate::support::amqp::table(&headers));
        vec![said]
    })
    .await;
    let client = bridge.client();
    for (number, own) in ["a", "b", "c"].into_iter().enumerate() {
        let call = client.post("/take").header("idempotency-key", "one");
        let call = call.header("correlation-id", own).body("tea?");
        let reply = call.send_plain().await.expect(418);
        assert_eq!(reply.text(), "no coffee");
        assert_eq!(reply.header("correlation-id"), own);
        assert_eq!(is_replayed(&reply), number > 0);
        assert_eq!(reply.header("message-id"), worker.seen()[0].message_id());
    }
    assert_eq!(worker.seen().len(), 1);
    kill(bridge).await;
    let bridge = rig.bridge(&asking("{ timeout: 9s }")).await;
    let call = bridge
        .client()
        .post("/take")
        .header("idempotency-key", "one")
        .body("tea?")
        .send_plain()
        .await;
    assert!(is_replayed(&call.expect(418)));
    assert_eq!(worker.seen().len(), 1);
}

/// No reply in time: the repeat asks the worker again, under the id by which it can tell.
#[tokio::test]
async fn a_reply_that_did_not_come_is_asked_for_again_under_the_same_id() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&asking("{ timeout: 1s }")).await;
    let client = bridge.client();
    call(&client, "one", "m-1", "x")
        .await
        .expect_problem(504, "reply-timeout");
    let answer = |request: &Got| vec![reply(request, "late")];
    let worker = Worker::start(rig.url(), &rig.name("ask"), answer).await;
    let reply = eventually(SOON, "a reply", async || {
        let reply = call(&client, "one", "m-2", "x").await;
        must(reply.status == 200, || reply.text()).map(|()| reply)
    })
    .await;
    assert_eq!(
        (reply.text().as_str(), reply.header("message-id")),
        ("late", "m-1")
    );
    assert!(worker.seen().iter().all(|got| got.message_id() == "m-1"));
    let asked = worker.seen().len();
    assert!(is_replayed(
        &call(&client, "one", "m-3", "x").await.expect(200)
    ));
    assert_eq!(worker.seen().len(), asked);
}

/// A client that leaves while it waits: the repeat takes over.
#[tokio::test]
async fn a_caller_that_left_is_followed_by_its_repeat() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&asking("{ timeout: 20s }")).await;
    let answer = |request: &Got| vec![reply(request, "here")];
    let worker = Worker::start_paused(rig.url(), &rig.name("ask"), answer).await;
    let mut raw = Raw::connect(bridge.http()).await;
    raw.write(
        b"POST /take HTTP/1.1\r\nHost: x\r\nIdempotency-Key: one\r\nMessage-Id: m-1\r\n\
          Content-Length: 1\r\n\r\nx",
    )
    .await;
    eventually(SOON, "the request", async || {
        must(worker.seen().len() == 1, || "none".to_owned())
    })
    .await;
    drop(raw);
    bridge.metric_is("hareway_waiting_replies", &[], 0.0).await;
    worker.go();
    let client = bridge.client();
    let reply = eventually(SOON, "a reply", async || {
        let reply = call(&client, "one", "m-2", "x").await;
        must(reply.status == 200, || reply.text()).map(|()| reply)
    })
    .await;
    assert_eq!(reply.header("message-id"), "m-1");
    assert!(worker.seen().iter().all(|got| got.message_id() == "m-1"));
}
