//! The same on the admin listener.

use hareway::config::names;
use http::Method;
use serde_json::{Value, json};

use super::{
    breaker::{Breaker, PUBLISH},
    dead_letter, fill, parked,
};
use crate::support::{
    Bridge, Client, Rig, SOON, amqp::with_id, bridge::Options, client::Reply, eventually, must,
};

const ROUTE: &str =
    "routes: { PFX-fwd: { from: { amqp: PFX-in }, to: { http: \"http://127.0.0.1:9/\" } } }";

/// A bridge with one route, whose parked queue exists and whose backend is never called.
async fn bridge(rig: &Rig) -> (Bridge, String) {
    let bridge = rig.bridge(ROUTE).await;
    (bridge, names::parked_queue(&rig.name("fwd")))
}

async fn post(bridge: &Bridge, path: &str, body: &Value) -> Reply {
    let client = Client::new(bridge.admin());
    let call = client.post(path).header("content-type", "application/json");
    call.body(body.to_string()).send_plain().await
}

async fn done(bridge: &Bridge, path: &str, body: &Value) -> Value {
    let answer = post(bridge, path, body).await.expect(200).json();
    conforms("Done", &answer);
    answer
}

/// The answers are as the document says that the bridge serves itself.
fn conforms(schema: &str, answer: &Value) {
    let text = include_str!("../../../src/admin/openapi.yaml");
    let document: Value = serde_yaml::from_str(text).unwrap();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{schema}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator
        .iter_errors(answer)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}: {answer:#}");
}

fn ids(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().unwrap().iter();
    messages
        .map(|message| message["id"].as_str().unwrap())
        .collect()
}

/// Queues with their counts, messages by filter, one message whole.
#[tokio::test]
async fn messages_are_told() {
    let rig = Rig::new().await;
    let (bridge, queue) = bridge(&rig).await;
    for (id, reason, status, age) in [("a/1", "exhausted", 503, 10), ("b", "rejected", 404, 7_000)]
    {
        let properties = parked(id, "work", reason, status, age);
        rig.amqp().send(&queue, properties, b"hello").await;
    }
    rig.amqp().send(&queue, with_id("c"), b"\xff").await;
    let queues = bridge.admin_get("/parked").await.expect(200).json();
    conforms("Queues", &queues);
    let expected = json!({ "queues": [{ "queue": queue, "exists": true, "messages": 3 }] });
    assert_eq!(queues, expected);
    for (query, expected) in [
        ("", &["a/1", "b", "c"][..]),
        ("?status=4xx,503", &["a/1", "b"]),
        ("?reason=rejected", &["b"]),
        ("?older_than=1h", &["b"]),
        ("?newer_than=1h", &["a/1"]),
        ("?id=c&id=b", &["b", "c"]),
        ("?header=x-tenant%3Dt-0", &[]),
        ("?limit=1", &["a/1"]),
    ] {
        let page = bridge.admin_get(&format!("/parked/{queue}{query}")).await;
        let page = page.expect(200).json();
        conforms("Messages", &page);
        assert_eq!(ids(&page["messages"]), expected, "{query}");
    }
    let one = bridge.admin_get(&format!("/parked/{queue}/a%2F1")).await;
    let one = one.expect(200).json();
    conforms("Whole", &one);
    assert_eq!(
        (&one["body"], &one["status"]),
        (&"hello".into(), &503.into())
    );
    let one = bridge.admin_get(&format!("/parked/{queue}/c")).await;
    let one = one.expect(200).json();
    conforms("Whole", &one);
    assert_eq!(one["body_base64"], "/w==");
    rig.settles_at(&queue, 3).await;
}

/// Replayed by filter, in calls of a bounded size that say what is left; counted.
#[tokio::test]
async fn messages_are_replayed_and_discarded() {
    let rig = Rig::new().await;
    let (bridge, queue) = bridge(&rig).await;
    let work = rig.queue("work").await;
    fill(&rig, &queue, 30).await;
    let replay = format!("/parked/{queue}/replay");
    let dry = json!({ "all": true, "dry_run": true, "limit": 2 });
    let dry = done(&bridge, &replay, &dry).await;
    assert_eq!(dry["tally"]["replayed"], 0);
    let to = json!({ "exchange": "", "routing_key": work });
    assert_eq!(dry["messages"][1]["to"], to);
    assert_eq!(dry["messages"][1]["message"]["id"], "m00001");
    rig.settles_at(&queue, 30).await;
    let some = json!({ "reason": "exhausted", "limit": 20, "rate": "1000/s" });
    let some = done(&bridge, &replay, &some).await;
    assert_eq!(
        (&some["tally"]["replayed"], &some["tally"]["remaining"]),
        (&20.into(), &10.into())
    );
    let absent = json!({ "id": ["m00020"], "to": { "queue": rig.name("absent") } });
    let absent = done(&bridge, &replay, &absent).await;
    assert_eq!(
        (&absent["tally"]["replayed"], &absent["tally"]["failed"]),
        (&0.into(), &1.into())
    );
    assert_eq!(absent["failures"][0]["id"], "m00020");
    let discard = format!("/parked/{queue}/discard");
    let one = done(&bridge, &discard, &json!({ "id": ["m00021"] })).await;
    assert_eq!(one["tally"]["discarded"], 1);
    rig.settles_at(&queue, 9).await;
    let replayed = rig.amqp().drain(&work).await;
    assert_eq!(replayed.len(), 20);
    assert_eq!(replayed[7].message_id(), "m00007");
    let name = "hareway_replayed_total";
    for (outcome, count) in [("replayed", 20.0), ("failed", 1.0)] {
        let labels = [("queue", queue.as_str()), ("outcome", outcome)];
        bridge.metric_is(name, &labels, count).await;
    }
}

/// A replay whose first publish finds no broker moves nothing, and still it has failed.
#[tokio::test]
async fn a_replay_that_moves_nothing_is_counted() {
    let rig = Rig::new().await;
    let breaker = Breaker::start(rig.url(), PUBLISH).await;
    let options = Options {
        amqp_url: Some(breaker.url(rig.url())),
        ..Options::default()
    };
    let bridge = rig.bridge_with(ROUTE, options).await;
    let queue = names::parked_queue(&rig.name("fwd"));
    rig.queue("work").await;
    fill(&rig, &queue, 3).await;
    let all = json!({ "all": true, "rate": "100/s" });
    let answer = post(&bridge, &format!("/parked/{queue}/replay"), &all).await;
    answer.expect_problem(503, "broker-unavailable");
    let labels = [("queue", queue.as_str()), ("outcome", "failed")];
    bridge
        .metric_is("hareway_replayed_total", &labels, 1.0)
        .await;
    rig.settles_at(&queue, 3).await;
}

/// Any other queue by its name, one that the broker dead-letters into as well.
#[tokio::test]
async fn any_queue_can_be_named() {
    let rig = Rig::new().await;
    let (bridge, _) = bridge(&rig).await;
    let (work, dead) = (rig.name("work"), rig.queue("dead").await);
    dead_letter(&rig, &work, &dead, ["a"]).await;
    let listed = bridge.admin_get(&format!("/parked/{dead}")).await;
    let listed = listed.expect(200).json();
    assert_eq!(listed["messages"][0]["origin"]["queue"], work);
    let all = json!({ "all": true });
    let ran = done(&bridge, &format!("/parked/{dead}/replay"), &all).await;
    assert_eq!(ran["tally"]["replayed"], 1);
    let got = rig.amqp().get(&work).await.expect("replayed");
    assert_eq!(got.message_id(), "a");
    // No label for a queue that anybody may make up.
    let labels = [("queue", ""), ("outcome", "replayed")];
    bridge
        .metric_is("hareway_replayed_total", &labels, 1.0)
        .await;
}

/// Mistakes are problem documents that say what to write, and nothing happens.
#[tokio::test]
async fn mistakes_are_problems() {
    let rig = Rig::new().await;
    let (bridge, queue) = bridge(&rig).await;
    fill(&rig, &queue, 2).await;
    let path = |verb: &str| format!("/parked/{queue}/{verb}");
    for (verb, body, says) in [
        ("replay", json!({}), "`\"all\": true`"),
        ("discard", json!({ "limit": 5 }), "`\"all\": true`"),
        ("replay", json!({ "all": true, "limit": 1001 }), "1000"),
        ("replay", json!({ "all": true, "limit": 0 }), "1000"),
        ("replay", json!({ "all": true, "rate": "fast" }), "50/s"),
        ("replay", json!({ "all": true, "to": {} }), "`to`"),
        ("replay", json!({ "al": true }), "unknown field `al`"),
        ("replay", json!({ "older_than": "5" }), "older_than"),
        ("discard", json!({ "all": true, "rate": "1/s" }), "`rate`"),
        ("discard", json!({ "status": "9xx" }), "status"),
        ("discard", json!([1]), "the body"),
    ] {
        let answer = post(&bridge, &path(verb), &body).await;
        let answer = answer.expect_problem(400, "bad-request");
        assert!(
            answer.detail().contains(says),
            "{body}: {}",
            answer.detail()
        );
        conforms("Problem", &answer.json());
    }
    for (query, says) in [
        ("?limit=x", "limit"),
        ("?age=5", "`age`"),
        ("?header=x", "NAME=VALUE"),
    ] {
        let answer = bridge.admin_get(&format!("/parked/{queue}{query}")).await;
        let answer = answer.expect_problem(400, "bad-request");
        assert!(
            answer.detail().contains(says),
            "{query}: {}",
            answer.detail()
        );
    }
    let absent = rig.name("absent");
    let missing = bridge.admin_get(&format!("/parked/{absent}")).await;
    missing.expect_problem(404, "not-found");
    let missing = bridge.admin_get(&format!("/parked/{queue}/none")).await;
    missing.expect_problem(404, "not-found");
    let client = Client::new(bridge.admin());
    let large = client
        .post(&path("replay"))
        .header("content-type", "application/json");
    let large = large.body(vec![b' '; 70_000]).send_plain().await;
    large.expect_problem(413, "body-too-large");
    let wrong = client
        .call(Method::DELETE, &path("replay"))
        .send_plain()
        .await;
    assert_eq!(
        wrong
            .expect_problem(405, "method-not-allowed")
            .header("allow"),
        "POST"
    );
    rig.settles_at(&queue, 2).await;
}

/// A caller that leaves, and more callers than may be at work: what is held goes back, and the
/// others are told to come later.
#[tokio::test]
async fn calls_are_bounded_and_end_with_their_callers() {
    let rig = Rig::new().await;
    let (bridge, queue) = bridge(&rig).await;
    let other = rig.queue("other").await;
    let work = rig.queue("work").await;
    fill(&rig, &queue, 10).await;
    fill(&rig, &other, 10).await;
    let mut calls = Vec::new();
    for queue in [&queue, &other] {
        let path = format!("/parked/{queue}/replay");
        let slow = json!({ "all": true, "rate": "1/h" }).to_string();
        let client = Client::new(bridge.admin());
        calls.push(tokio::spawn(async move {
            let call = client
                .post(&path)
                .header("content-type", "application/json");
            call.body(slow).attempt().await
        }));
        // Its first message has gone out, the others wait for their turn.
        let out = u32::try_from(calls.len()).unwrap();
        rig.settles_at(&work, out).await;
    }
    let refused = bridge.admin_get(&format!("/parked/{queue}")).await;
    refused.expect_problem(503, "overloaded");
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    rig.settles_at(&queue, 9).await;
    rig.settles_at(&other, 9).await;
    eventually(SOON, "there is room again", async || {
        let answer = bridge.admin_get(&format!("/parked/{queue}")).await;
        must(answer.status == 200, || answer.text())
    })
    .await;
}
