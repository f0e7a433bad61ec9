//! Deliver: a message leaves its queue after the backend's success, or after it is safe elsewhere.

use std::time::Duration;

use futures_util::StreamExt;
use hareway::config::names::{parked_queue, retry_queue};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable, LongString},
};

use crate::support::{
    Answer, Backend, Bridge, Proxy, Rig, SOON,
    amqp::{Got, table, text, with_id},
    backend::raw_server,
    bridge::{Options, free_port},
    broker::{address_of, with_address},
    eventually, must,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// One route from `PFX-work` to `url`, with `more` keys of the route.
fn route(url: &str, more: &str) -> String {
    format!(
        r#"
routes:
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: {{ url: "{url}", timeout: 500ms }} }}
    {more}
"#
    )
}

/// The only message in the route's parked queue, once it is there.
async fn parked(rig: &Rig) -> Got {
    let queue = parked_queue(&rig.name("fwd"));
    rig.settles_at(&queue, 1).await;
    rig.settles_at(&rig.name("work"), 0).await;
    rig.amqp().get(&queue).await.expect("a parked message")
}

async fn outcome(rig: &Rig, bridge: &Bridge, outcome: &str, count: f64) {
    let route = rig.name("fwd");
    let labels = [("route", route.as_str()), ("outcome", outcome)];
    bridge
        .metric_is("hareway_deliveries_total", &labels, count)
        .await;
}

/// Success acknowledges; the backend has the body byte for byte, every property as a header, and
/// where the message came from.
#[tokio::test]
async fn success_takes_the_message_off_its_queue() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let bridge = rig
        .bridge(&route(&backend.url("/orders"), "retry: [1s]"))
        .await;
    let body: Vec<u8> = (0..=255).rev().collect();
    let properties = with_id("m-1")
        .with_correlation_id("c-1".into())
        .with_content_type("application/octet-stream".into())
        .with_content_encoding("identity".into())
        .with_type("order.placed".into())
        .with_app_id("shop".into())
        .with_priority(3)
        .with_timestamp(1_700_000_000)
        .with_headers(table(&[
            ("x-colour", text("Blue")),
            ("X-Count", AMQPValue::LongInt(-7)),
        ]));
    rig.amqp().send(&rig.name("work"), properties, &body).await;
    let seen = backend.wait_for(1, SOON).await;
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("POST", "/orders")
    );
    assert_eq!(seen[0].body, body);
    let queue = rig.name("work");
    for (name, value) in [
        ("message-id", "m-1"),
        ("idempotency-key", "m-1"),
        ("correlation-id", "c-1"),
        ("content-type", "application/octet-stream"),
        ("content-encoding", "identity"),
        ("amqp-type", "order.placed"),
        ("amqp-app-id", "shop"),
        ("amqp-priority", "3"),
        ("amqp-timestamp", "1700000000"),
        ("x-colour", "Blue"),
        ("hareway-attempt", "1"),
        ("hareway-queue", &queue),
        ("hareway-exchange", ""),
        ("hareway-routing-key", &queue),
    ] {
        assert_eq!(seen[0].header(name), value, "{name}");
    }
    assert!(
        seen[0].header("x-count").contains("-7"),
        "{}",
        seen[0].header("x-count")
    );
    outcome(&rig, &bridge, "delivered", 1.0).await;
    // An unacknowledged message would come back when its consumer has gone.
    bridge.signal("TERM");
    bridge.exit(SOON).await;
    rig.settles_at(&queue, 0).await;
    rig.settles_at(&parked_queue(&rig.name("fwd")), 0).await;
    assert_eq!(backend.count(), 1);
}

/// A failing backend is tried again after each delay in turn, under the same ids, and then the
/// message is parked with the reason, its history and everything that it had.
#[tokio::test]
async fn failures_are_retried_tier_by_tier_and_parked() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(503).body("out of order"));
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: [200ms, 400ms]"))
        .await;
    let properties = with_id("m-1")
        .with_content_type("text/plain".into())
        .with_headers(table(&[("x-colour", text("Blue"))]));
    rig.amqp()
        .send(&rig.name("work"), properties, b"body")
        .await;
    let got = parked(&rig).await;

    let seen = backend.requests();
    assert_eq!(seen.len(), 3);
    for (number, request) in seen.iter().enumerate() {
        assert_eq!(request.header("message-id"), "m-1");
        assert_eq!(request.header("idempotency-key"), "m-1");
        assert_eq!(request.header("hareway-attempt"), (number + 1).to_string());
        assert_eq!(request.header("x-colour"), "Blue");
        assert_eq!(request.header("hareway-routing-key"), rig.name("work"));
        assert_eq!(request.body, "body");
        assert!(!request.headers.contains_key("x-death"));
    }
    for (number, delay) in [200, 400].into_iter().enumerate() {
        let gap = seen[number + 1].at - seen[number].at;
        assert!(
            gap >= MS(delay) && gap < MS(delay + 3_000),
            "{delay} ms took {gap:?}"
        );
    }

    assert_eq!((got.message_id(), &got.body[..]), ("m-1", &b"body"[..]));
    assert_eq!(*got.properties.delivery_mode(), Some(2));
    assert_eq!(
        got.properties.content_type().as_ref().map(|t| t.as_str()),
        Some("text/plain")
    );
    for (name, value) in [
        ("x-colour", "Blue".to_owned()),
        ("hareway-status", "503".to_owned()),
        ("hareway-attempt", "3".to_owned()),
        ("hareway-route", rig.name("fwd")),
        ("hareway-queue", rig.name("work")),
        ("hareway-routing-key", rig.name("work")),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    for name in [
        "hareway-reason",
        "hareway-parked-at",
        "hareway-first-failed-at",
    ] {
        assert!(!got.header(name).is_empty(), "{name} is missing");
    }
    for name in ["x-death", "x-first-death-queue"] {
        assert!(!got.headers().contains_key(name), "{name} was carried");
    }
    outcome(&rig, &bridge, "retried", 2.0).await;
    outcome(&rig, &bridge, "parked", 1.0).await;
}

/// A backend that recovers meanwhile gets the message, and nothing is parked.
#[tokio::test]
async fn a_retry_that_succeeds_ends_the_matter() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.script([
        Answer::status(500),
        Answer::status(429),
        Answer::status(204),
    ]);
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: [100ms, 200ms, 300ms]"))
        .await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    outcome(&rig, &bridge, "delivered", 1.0).await;
    outcome(&rig, &bridge, "retried", 2.0).await;
    outcome(&rig, &bridge, "parked", 0.0).await;
    assert_eq!(backend.count(), 3);
}

/// `Retry-After` is honoured: the next delay that is at least as long.
#[tokio::test]
async fn retry_after_is_honoured() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.script([Answer::status(503).header("retry-after", "1"), Answer::ok()]);
    rig_route_and_two_attempts(&rig, &backend, "retry: [100ms, 1500ms]", MS(1_500)).await;
}

async fn rig_route_and_two_attempts(rig: &Rig, backend: &Backend, more: &str, least: Duration) {
    let bridge = rig.bridge(&route(&backend.url("/"), more)).await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    let seen = backend.wait_for(2, SOON).await;
    let gap = seen[1].at - seen[0].at;
    assert!(gap >= least, "{gap:?}");
    outcome(rig, &bridge, "delivered", 1.0).await;
}

/// A refusal that no repetition mends is parked at once.
#[tokio::test]
async fn what_cannot_be_mended_is_parked_at_once() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(422));
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: [100ms]"))
        .await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    let got = parked(&rig).await;
    assert_eq!(
        (got.header("hareway-status"), got.header("hareway-attempt")),
        ("422".to_owned(), "1".to_owned())
    );
    assert_eq!(backend.count(), 1);
    outcome(&rig, &bridge, "retried", 0.0).await;
}

/// The route's own timeout ends a call that hangs, a broken or nonsensical answer is no success,
/// and an unreachable backend is no poison: each is retried.
#[tokio::test]
async fn broken_backends_are_retried() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.script([Answer::hang(), Answer::closed()]);
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: [100ms, 150ms, 200ms]"))
        .await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    let seen = backend.wait_for(3, SOON).await;
    let gap = seen[1].at - seen[0].at;
    assert!(
        gap >= MS(600) && gap < MS(4_000),
        "timeout and delay: {gap:?}"
    );
    outcome(&rig, &bridge, "delivered", 1.0).await;
    outcome(&rig, &bridge, "retried", 2.0).await;
    drop(bridge);

    let garbage = raw_server(b"nonsense\r\n\r\n").await;
    let nobody = format!("127.0.0.1:{}", free_port());
    for address in [garbage.to_string(), nobody] {
        let yaml = route(&format!("http://{address}/"), "retry: [100ms]");
        let bridge = rig.bridge(&yaml).await;
        rig.amqp()
            .send(&rig.name("work"), with_id("m-2"), b"")
            .await;
        let got = parked(&rig).await;
        assert_eq!(got.header("hareway-attempt"), "2", "{address}");
        assert!(!got.header("hareway-last-error").is_empty(), "{address}");
        outcome(&rig, &bridge, "retried", 1.0).await;
    }
}

/// Once the backend is reachable, what waited in the tiers reaches it.
#[tokio::test]
async fn a_backend_that_starts_late_gets_everything() {
    let rig = Rig::new().await;
    let port = free_port();
    let more = "retry: { delays: [200ms], for: 1m }\n    circuit: none";
    let bridge = rig
        .bridge(&route(&format!("http://127.0.0.1:{port}/"), more))
        .await;
    for number in 0..20 {
        rig.amqp()
            .send(&rig.name("work"), with_id(&format!("m-{number}")), b"")
            .await;
    }
    let route_name = rig.name("fwd");
    let retried = [("route", route_name.as_str()), ("outcome", "retried")];
    eventually(SOON, "everything retried", async || {
        let count = bridge.metric("hareway_deliveries_total", &retried).await;
        must(count >= 20.0, || count.to_string())
    })
    .await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let backend = Backend::serve(listener);
    outcome(&rig, &bridge, "delivered", 20.0).await;
    let mut ids: Vec<String> = backend
        .requests()
        .iter()
        .map(|r| r.header("message-id").to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), backend.count()), (20, 20));
}

/// A message with `reply_to` is answered with whatever the backend said, and not retried.
#[tokio::test]
async fn reply_to_is_answered_not_retried() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.script([
        Answer::ok()
            .header("content-type", "text/plain")
            .header("x-made", "here")
            .body("fine"),
        Answer::status(500).body("broken"),
        Answer::hang(),
    ]);
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: [100ms]"))
        .await;
    let replies = rig.queue("replies").await;
    for (number, status, body) in [
        (1, "200", Some("fine")),
        (2, "500", Some("broken")),
        (3, "504", None),
    ] {
        let properties = with_id(&format!("m-{number}"))
            .with_correlation_id(format!("c-{number}").into())
            .with_reply_to(replies.as_str().into());
        rig.amqp().send(&rig.name("work"), properties, b"ask").await;
        rig.settles_at(&replies, 1).await;
        let got = rig.amqp().get(&replies).await.expect("a reply");
        assert_eq!(got.correlation_id(), format!("c-{number}"));
        assert_eq!(got.header("http-status"), status);
        if let Some(body) = body {
            assert_eq!(got.body, body.as_bytes());
        }
        if number == 1 {
            assert_eq!(got.header("x-made"), "here");
            assert_eq!(
                got.properties.content_type().as_ref().map(|t| t.as_str()),
                Some("text/plain")
            );
        }
    }
    outcome(&rig, &bridge, "replied", 3.0).await;
    outcome(&rig, &bridge, "retried", 0.0).await;
    assert_eq!(backend.count(), 3);
}

/// Whatever publishers put into a message, it is delivered or parked, and the route goes on.
#[tokio::test]
async fn poison_never_stops_the_route() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: [100ms]"))
        .await;
    let bytes = AMQPValue::LongString(LongString::from(&b"\xff\xfe\r\nx: y\0"[..]));
    let mut nested = AMQPValue::Boolean(true);
    for _ in 0..40 {
        nested = AMQPValue::FieldArray(FieldArray::from(vec![nested]));
    }
    let inner: FieldTable = table(&[("a", AMQPValue::Void)]);
    let poisons = [
        table(&[
            ("bad name", text("x")),
            ("b\u{e4}d", text("x")),
            ("", text("x")),
            ("a:b", text("x")),
        ]),
        table(&[("x-bytes", bytes.clone()), ("x\r\ny", bytes)]),
        table(&[
            ("x-nested", nested),
            ("x-table", AMQPValue::FieldTable(inner)),
        ]),
        table(&[
            ("content-length", text("5")),
            ("transfer-encoding", text("chunked")),
            ("host", text("evil")),
        ]),
        table(&[("x-long", text(&"y".repeat(60_000)))]),
        table(&[
            ("hareway-attempt", text("many")),
            ("x-death", text("odd")),
            ("http-method", text("G T")),
        ]),
        table(&[
            ("hareway-attempt", AMQPValue::LongLongInt(i64::MAX)),
            ("hareway-first-failed-at", AMQPValue::Timestamp(u64::MAX)),
        ]),
    ];
    let count = poisons.len();
    let work = rig.name("work");
    for (number, headers) in poisons.into_iter().enumerate() {
        let properties = with_id(&format!("poison-{number}")).with_headers(headers);
        rig.amqp().send(&work, properties, b"hello").await;
        rig.amqp()
            .send(&work, with_id(&format!("good-{number}")), b"hello")
            .await;
    }
    let long = "i".repeat(255);
    let odd = with_id(&long)
        .with_expiration("60000".into())
        .with_content_type("te\u{e4}xt\n".into());
    rig.amqp().send(&work, odd, b"").await;
    rig.amqp()
        .send(&work, BasicProperties::default(), b"")
        .await;
    rig.amqp().send(&work, with_id("last"), b"").await;

    let all = 2 * count + 3;
    let parked_here = parked_queue(&rig.name("fwd"));
    let name = rig.name("fwd");
    eventually(SOON, "each message delivered or parked", async || {
        let labels = [("route", name.as_str()), ("outcome", "delivered")];
        let delivered = bridge.metric("hareway_deliveries_total", &labels).await;
        let parked = rig
            .amqp()
            .counts(&parked_here)
            .await
            .map_or(0, |counts| counts.messages);
        must(delivered as usize + parked as usize == all, || {
            format!("{delivered} + {parked} of {all}")
        })
    })
    .await;
    for got in rig.amqp().drain(&parked_here).await {
        assert!(!got.header("hareway-reason").is_empty(), "{got:?}");
    }
    let seen = backend.requests();
    let ids: Vec<&str> = seen
        .iter()
        .map(|request| request.header("message-id"))
        .collect();
    for number in 0..count {
        let id = format!("good-{number}");
        assert!(ids.contains(&id.as_str()), "{id} is missing in {ids:?}");
    }
    assert!(ids.contains(&"last"));
    for request in seen
        .iter()
        .filter(|request| request.header("message-id").starts_with("poison"))
    {
        assert_eq!(request.body, "hello");
        assert_ne!(request.header("host"), "evil");
    }
    rig.settles_at(&work, 0).await;
}

/// When the place to retry is gone, the message is not acknowledged: it stays somewhere.
#[tokio::test]
async fn nothing_is_lost_when_the_retry_queue_is_gone() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(500));
    let bridge = rig.bridge(&route(&backend.url("/"), "retry: [1h]")).await;
    let (work, name) = (rig.name("work"), rig.name("fwd"));
    let (tier, parked) = (
        retry_queue(&name, Duration::from_secs(3600)),
        parked_queue(&name),
    );
    rig.amqp().delete_queue(&tier).await;
    for number in 0..5 {
        rig.amqp()
            .send(&work, with_id(&format!("m-{number}")), b"")
            .await;
    }
    backend.wait_for(5, SOON).await;
    bridge.signal("TERM");
    bridge.exit(Duration::from_secs(40)).await;
    eventually(SOON, "five messages in all", async || {
        let mut total = 0;
        for queue in [&work, &tier, &parked] {
            total += rig
                .amqp()
                .counts(queue)
                .await
                .map_or(0, |counts| counts.messages);
        }
        must(total == 5, || total.to_string())
    })
    .await;
}

/// No more calls at once than `concurrency`, no more messages taken ahead than `prefetch`, and in
/// the end each delivered once.
#[tokio::test]
async fn concurrency_and_prefetch_are_bounds() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::hang());
    let yaml = format!(
        r#"
routes:
  PFX-fwd:
    from: {{ amqp: {{ queue: PFX-work, concurrency: 3, prefetch: 5 }} }}
    to: {{ http: {{ url: "{}", timeout: 60s }} }}
    retry: [1s]
"#,
        backend.url("/")
    );
    let bridge = rig.bridge(&yaml).await;
    let work = rig.name("work");
    for number in 0..20 {
        rig.amqp()
            .send(&work, with_id(&format!("m-{number}")), b"")
            .await;
    }
    backend.wait_for(3, SOON).await;
    rig.settles_at(&work, 15).await;
    let name = rig.name("fwd");
    bridge
        .metric_is("hareway_in_flight", &[("route", &name)], 3.0)
        .await;
    backend.release();
    outcome(&rig, &bridge, "delivered", 20.0).await;
    assert_eq!((backend.busiest(), backend.count()), (3, 20));
}

/// A redelivery of what was delivered already, its ack lost with the connection, is acknowledged
/// without a second call.
#[tokio::test]
async fn a_lost_ack_makes_no_second_call() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::ok().after(MS(300)));
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    let bridge = rig
        .bridge_with(&route(&backend.url("/"), "retry: [1s]"), options)
        .await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    backend.wait_for(1, SOON).await;
    proxy.set(|weather| weather.stall_up = true);
    outcome(&rig, &bridge, "delivered", 1.0).await;
    proxy.cut();
    proxy.resume();
    outcome(&rig, &bridge, "suppressed", 1.0).await;
    rig.settles_at(&rig.name("work"), 0).await;
    assert_eq!(backend.count(), 1);
}

/// A producer may use one id for different messages: another message under the id of one that was
/// delivered is delivered too, also when it comes redelivered.
#[tokio::test]
async fn an_id_that_is_used_twice_hides_no_message() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let work = rig.queue("work").await;
    rig.amqp().send(&work, with_id("m-1"), b"second").await;
    // Somebody else has it first, and goes away without having done anything.
    let (channel, mut held) = rig.amqp().consume(&work, 1).await;
    let taken = held.next().await.expect("a delivery").expect("a delivery");
    assert_eq!(taken.data, b"second");
    let bridge = rig.bridge(&route(&backend.url("/"), "retry: [1s]")).await;
    rig.amqp().send(&work, with_id("m-1"), b"first").await;
    outcome(&rig, &bridge, "delivered", 1.0).await;
    channel.close(200, "done".into()).await.expect("it closes");
    outcome(&rig, &bridge, "delivered", 2.0).await;
    outcome(&rig, &bridge, "suppressed", 0.0).await;
    let bodies: Vec<_> = backend
        .requests()
        .iter()
        .map(|one| one.body.clone())
        .collect();
    assert_eq!(bodies, [&b"first"[..], b"second"]);
}

/// Two routes may share one backend and one may fail without holding up the other.
#[tokio::test]
async fn a_failing_route_holds_up_no_other() {
    let rig = Rig::new().await;
    let (bad, good) = (Backend::start().await, Backend::start().await);
    bad.otherwise(Answer::hang());
    let yaml = format!(
        r#"
exchanges:
  PFX-both: {{ type: fanout }}
queues:
  PFX-bad: {{ bind: {{ PFX-both: "" }} }}
  PFX-good: {{ bind: {{ PFX-both: "" }} }}
routes:
  PFX-to-bad:
    from: {{ amqp: PFX-bad }}
    to: {{ http: {{ url: "{}", timeout: 60s }} }}
  PFX-to-good:
    from: {{ amqp: PFX-good }}
    to: {{ http: "{}" }}
"#,
        bad.url("/"),
        good.url("/")
    );
    let _bridge = rig.bridge(&yaml).await;
    for number in 0..100 {
        let id = with_id(&format!("m-{number}"));
        rig.amqp().publish(&rig.name("both"), "", id, b"").await;
    }
    good.wait_for(100, SOON).await;
    rig.settles_at(&rig.name("good"), 0).await;
    bad.release();
    bad.wait_for(100, SOON).await;
}

/// What the broker itself drops from a work queue is parked: here, messages that expire while the
/// backend is busy.
#[tokio::test]
async fn what_expires_in_the_work_queue_is_parked() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::hang());
    let yaml = format!(
        r#"
routes:
  PFX-fwd:
    from: {{ amqp: {{ queue: PFX-work, concurrency: 1, prefetch: 1 }} }}
    to: {{ http: {{ url: "{}", timeout: 60s }} }}
"#,
        backend.url("/")
    );
    let bridge = rig.bridge(&yaml).await;
    let work = rig.name("work");
    rig.amqp().send(&work, with_id("first"), b"").await;
    backend.wait_for(1, SOON).await;
    for number in 0..3 {
        let properties = with_id(&format!("m-{number}")).with_expiration("200".into());
        rig.amqp().send(&work, properties, b"kept").await;
    }
    let parked = parked_queue(&rig.name("fwd"));
    rig.settles_at(&parked, 3).await;
    backend.release();
    outcome(&rig, &bridge, "delivered", 1.0).await;
    for got in rig.amqp().drain(&parked).await {
        assert_eq!(got.body, b"kept");
    }
}

/// `retry: none` with `park: drop` or `park: requeue` does what it says, and counts it.
#[tokio::test]
async fn failures_may_be_dropped_or_given_back() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(500));
    let work = rig.name("work");
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: none\n    park: drop"))
        .await;
    rig.amqp().send(&work, with_id("m-1"), b"").await;
    outcome(&rig, &bridge, "dropped", 1.0).await;
    rig.settles_at(&work, 0).await;
    assert_eq!(backend.count(), 1);
    drop(bridge);

    backend.script([Answer::status(500), Answer::status(400), Answer::ok()]);
    let bridge = rig
        .bridge(&route(&backend.url("/"), "retry: none\n    park: requeue"))
        .await;
    rig.amqp().send(&work, with_id("m-2"), b"").await;
    let seen = backend.wait_for(4, SOON).await;
    assert!(seen[2].at - seen[1].at >= MS(500), "it slows down");
    outcome(&rig, &bridge, "delivered", 1.0).await;
    outcome(&rig, &bridge, "requeued", 2.0).await;
    rig.settles_at(&work, 0).await;
}

/// `retry.for` repeats the last delay until its time has passed, then parks.
#[tokio::test]
async fn retrying_ends_when_its_time_has_passed() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(503));
    let more = "retry: { delays: [100ms, 300ms], for: 3s, on: [503] }\n    circuit: none";
    let _bridge = rig.bridge(&route(&backend.url("/"), more)).await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    let got = parked(&rig).await;
    let seen = backend.requests();
    assert!((4..=15).contains(&seen.len()), "{} attempts", seen.len());
    let lasted = seen[seen.len() - 1].at - seen[0].at;
    assert!(lasted < MS(6_000), "{lasted:?}");
    assert_eq!(got.header("hareway-attempt"), seen.len().to_string());
}

/// Whatever becomes of the connection meanwhile, every message reaches the backend.
#[tokio::test]
async fn cut_connections_lose_no_message() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::ok().after(MS(20)));
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    let yaml = format!(
        "amqp: {{ reconnect_max: 200ms }}\n{}",
        route(&backend.url("/"), "retry: [100ms]")
    );
    let _bridge = rig.bridge_with(&yaml, options).await;
    let work = rig.name("work");
    let messages = (0..2_000).map(|number| (with_id(&format!("m-{number}")), Vec::new()));
    rig.amqp().publish_all("", &work, messages).await;
    for round in 1..=5 {
        backend.wait_for(round * 300, SOON).await;
        proxy.cut();
    }
    rig.settles_at(&work, 0).await;
    let seen = backend.wait_for(2_000, SOON).await;
    let mut ids: Vec<&str> = seen
        .iter()
        .map(|request| request.header("message-id"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2_000);
    // At least once: what was under way at a cut comes again, and no more than that.
    assert!(seen.len() <= 2_000 + 5 * 32, "{} calls", seen.len());
    rig.settles_at(&parked_queue(&rig.name("fwd")), 0).await;
}
