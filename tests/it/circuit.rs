//! A backend that is down is left alone: its messages wait in their queue, whole.

use std::{collections::BTreeSet, time::Duration};

use hareway::config::names::{parked_queue, retry_queue};

use crate::support::{
    Answer, Backend, Bridge, Proxy, Rig, SOON,
    amqp::with_id,
    backend::Recorded,
    bridge::{Options, free_port},
    broker::{address_of, with_address},
    eventually, must,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// One route from `PFX-work` to `url`.
fn route(url: &str, concurrency: u16, retry: &str, circuit: &str) -> String {
    let prefetch = 2 * concurrency;
    format!(
        r#"
routes:
  PFX-fwd:
    from: {{ amqp: {{ queue: PFX-work, concurrency: {concurrency}, prefetch: {prefetch} }} }}
    to: {{ http: "{url}" }}
    retry: [{retry}]
    circuit: {circuit}
"#
    )
}

async fn send(rig: &Rig, names: impl IntoIterator<Item = String>) {
    let messages = names.into_iter().map(|name| (with_id(&name), Vec::new()));
    let messages: Vec<_> = messages.collect();
    rig.amqp()
        .publish_all("", &rig.name("work"), messages)
        .await;
}

fn numbered(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}-{number}"))
}

async fn outcome(rig: &Rig, bridge: &Bridge, outcome: &str, count: f64) {
    let route = rig.name("fwd");
    let labels = [("route", route.as_str()), ("outcome", outcome)];
    bridge
        .metric_is("hareway_deliveries_total", &labels, count)
        .await;
}

async fn is_open(rig: &Rig, bridge: &Bridge, open: bool) {
    let route = rig.name("fwd");
    let value = f64::from(u8::from(open));
    bridge
        .metric_is("hareway_circuit_open", &[("route", &route)], value)
        .await;
}

/// What `/routes` says of the only route.
async fn state(bridge: &Bridge) -> String {
    let routes = bridge.admin_get("/routes").await.expect(200).text();
    let (_, after) = routes.split_once("\"state\"").expect("a state");
    after.split('"').nth(1).expect("a text").to_owned()
}

/// The attempts that the backend was told of, for one message.
fn attempts(seen: &[Recorded], id: &str) -> Vec<String> {
    seen.iter()
        .filter(|request| request.header("message-id") == id)
        .map(|request| request.header("hareway-attempt").to_owned())
        .collect()
}

/// Nobody listens: after the failures that open the circuit no attempt is spent and the messages
/// stay in their queue; when somebody does, each of them arrives.
#[tokio::test]
async fn messages_wait_for_a_backend_that_is_away() {
    let rig = Rig::new().await;
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let circuit = "{ failures: 3, pause: 100ms, pause_max: 500ms }";
    let bridge = rig.bridge(&route(&url, 4, "5s", circuit)).await;
    assert_eq!(state(&bridge).await, "consuming");
    send(&rig, numbered("first", 3)).await;
    outcome(&rig, &bridge, "retried", 3.0).await;
    is_open(&rig, &bridge, true).await;
    send(&rig, numbered("m", 40)).await;
    // 8 are held, the rest is where it was, and the first ones come back to it.
    rig.settles_at(&rig.name("work"), 35).await;
    let paused = state(&bridge).await;
    assert!(paused.starts_with("paused: circuit "), "{paused}");
    bridge.admin_get("/readyz").await.expect(200);
    let log = bridge.log();
    assert_eq!(log.matches("circuit open").count(), 1, "{log}");
    assert!(
        log.contains("\"next_probe\":\"100ms\"") && log.contains("cannot connect"),
        "{log}"
    );

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
    let backend = Backend::serve(listener.unwrap());
    outcome(&rig, &bridge, "delivered", 43.0).await;
    is_open(&rig, &bridge, false).await;
    rig.settles_at(&rig.name("work"), 0).await;
    rig.settles_at(&parked_queue(&rig.name("fwd")), 0).await;
    let seen = backend.requests();
    assert_eq!(seen.len(), 43);
    for name in numbered("first", 3) {
        assert_eq!(attempts(&seen, &name), ["2"], "{name}");
    }
    for name in numbered("m", 40) {
        assert_eq!(attempts(&seen, &name), ["1"], "{name}");
    }
    outcome(&rig, &bridge, "retried", 3.0).await;
    assert_eq!(state(&bridge).await, "consuming");
    let log = bridge.log();
    assert_eq!(log.matches("circuit closed").count(), 1, "{log}");
}

/// While the circuit is open the backend gets probes and nothing else, one at a time and no faster
/// than the pause, and none of them is an attempt.
#[tokio::test]
async fn an_open_circuit_lets_only_probes_through() {
    const PROBES: usize = 8;
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(503));
    let circuit = "{ failures: 3, pause: 100ms, pause_max: 100ms }";
    let bridge = rig
        .bridge(&route(&backend.url("/"), 1, "1h", circuit))
        .await;
    send(&rig, numbered("m", 20)).await;
    let seen = backend.wait_for(3 + PROBES, SOON).await;
    for (earlier, later) in seen[2..].iter().zip(&seen[3..]) {
        let pause = later.at - earlier.at;
        assert!(pause >= MS(100), "{pause:?}");
    }
    assert_eq!(backend.busiest(), 1);
    backend.otherwise(Answer::ok());
    outcome(&rig, &bridge, "delivered", 17.0).await;
    outcome(&rig, &bridge, "retried", 3.0).await;
    let tier = retry_queue(&rig.name("fwd"), Duration::from_secs(3600));
    rig.settles_at(&tier, 3).await;
    rig.settles_at(&rig.name("work"), 0).await;
    rig.settles_at(&parked_queue(&rig.name("fwd")), 0).await;
    // Whether it was a probe or not, each call was the message's first attempt.
    for request in backend.requests() {
        assert_eq!(request.header("hareway-attempt"), "1");
    }
}

/// A message for which the backend always fails does not keep the circuit open, even where it is
/// the only one in hand; and once it is closed, its failure is its own.
#[tokio::test]
async fn one_bad_message_does_not_hold_up_the_others() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(503));
    backend.always("bad", Answer::status(503));
    let circuit = "{ failures: 2, pause: 50ms, pause_max: 50ms }";
    let bridge = rig
        .bridge(&route(&backend.url("/"), 1, "1h", circuit))
        .await;
    send(&rig, numbered("first", 2)).await;
    is_open(&rig, &bridge, true).await;
    send(
        &rig,
        ["bad".to_owned()].into_iter().chain(numbered("good", 20)),
    )
    .await;
    // It stands before the others, and tries the backend in vain.
    let bad = || attempts(&backend.requests(), "bad").len();
    eventually(SOON, "the bad one tried", async || {
        must(bad() > 0, || "not yet".to_owned())
    })
    .await;
    backend.otherwise(Answer::ok());
    outcome(&rig, &bridge, "delivered", 20.0).await;
    outcome(&rig, &bridge, "retried", 3.0).await;
    let tier = retry_queue(&rig.name("fwd"), Duration::from_secs(3600));
    rig.settles_at(&tier, 3).await;
    rig.settles_at(&rig.name("work"), 0).await;
    let waiting = rig.amqp().drain(&tier).await;
    let names: BTreeSet<&str> = waiting.iter().map(|got| got.message_id()).collect();
    assert_eq!(names, BTreeSet::from(["bad", "first-0", "first-1"]));
    for got in &waiting {
        assert_eq!(got.header("hareway-attempt"), "1", "{got:?}");
        assert_eq!(got.header("hareway-routing-key"), rig.name("work"));
    }
    rig.settles_at(&parked_queue(&rig.name("fwd")), 0).await;
}

/// A shutdown does not wait for a backend that is down: what was held is back at once, with nothing
/// counted as cut off.
#[tokio::test]
async fn a_shutdown_does_not_wait_for_the_circuit() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(503));
    let circuit = "{ failures: 1, pause: 1h }";
    let yaml = route(&backend.url("/"), 4, "1h", circuit);
    let bridge = rig.bridge(&format!("drain_timeout: 5m\n{yaml}")).await;
    send(&rig, ["first".to_owned()]).await;
    is_open(&rig, &bridge, true).await;
    send(&rig, numbered("m", 10)).await;
    rig.settles_at(&rig.name("work"), 2).await;
    bridge.signal("TERM");
    let status = bridge.exit(Duration::from_secs(60)).await;
    assert!(status.success(), "{status}\n{}", bridge.log());
    rig.settles_at(&rig.name("work"), 10).await;
    assert_eq!(backend.count(), 1);
}

/// A connection that breaks meanwhile takes the messages that are held with it: the broker has them
/// again, and they are held again.
#[tokio::test]
async fn what_is_held_survives_the_connection() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(503));
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    let circuit = "{ failures: 1, pause: 100ms, pause_max: 100ms }";
    let yaml = route(&backend.url("/"), 4, "1h", circuit);
    let yaml = format!("amqp: {{ reconnect_max: 200ms }}\n{yaml}");
    let bridge = rig.bridge_with(&yaml, options).await;
    send(&rig, ["first".to_owned()]).await;
    is_open(&rig, &bridge, true).await;
    send(&rig, numbered("m", 20)).await;
    for _ in 0..3 {
        rig.settles_at(&rig.name("work"), 12).await;
        proxy.cut();
        bridge.metric_is("hareway_broker_up", &[], 0.0).await;
        bridge.ready(SOON).await;
    }
    backend.otherwise(Answer::ok());
    outcome(&rig, &bridge, "delivered", 20.0).await;
    rig.settles_at(&rig.name("work"), 0).await;
    rig.settles_at(&parked_queue(&rig.name("fwd")), 0).await;
    let seen = backend.requests();
    let delivered: BTreeSet<&str> = seen.iter().map(|one| one.header("message-id")).collect();
    assert_eq!(delivered.len(), 21);
    outcome(&rig, &bridge, "retried", 1.0).await;
}

/// Whoever waits for a reply is not made to wait for a backend that is down.
#[tokio::test]
async fn a_caller_is_told_at_once() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(503).body("down"));
    let yaml = format!(
        r#"
routes:
  PFX-call:
    from: {{ http: "POST /call" }}
    via: PFX-asked
    to: {{ http: "{}" }}
    reply: {{ timeout: 60s }}
    circuit: {{ failures: 2, pause: 1h }}
drain_timeout: 90s
"#,
        backend.url("")
    );
    let bridge = rig.bridge(&yaml).await;
    let client = bridge.client();
    for _ in 0..2 {
        let answer = client.post("/call").body("x").send_plain().await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str()),
            (503, "down")
        );
    }
    let answer = client
        .post("/call")
        .body("x")
        .send_plain()
        .await
        .expect(503);
    assert_eq!(answer.json()["type"], "urn:hareway:backend-unavailable");
    let later: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((3000..=3600).contains(&later), "{later}");
    assert_eq!(backend.count(), 2);
}
