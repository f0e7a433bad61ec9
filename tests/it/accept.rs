//! Accept: 202 means that the broker has confirmed the message and put it into a queue, and every
//! other outcome has its own status.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::support::{
    Bridge, Broker, Client, Proxy, Rig, SOON,
    amqp::with_id,
    bridge::Options,
    broker::{Setup, with_address},
    client::Raw,
    eventually, must,
};

/// What answers "at once" may take on a busy machine; far below every confirm timeout here.
const AT_ONCE: Duration = Duration::from_secs(2);

const PLAIN: &str = r#"
queues:
  PFX-in: {}
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: { queue: PFX-in, confirm_timeout: 10s } }
"#;

/// A bridge with a proxy between it and the shared broker.
async fn behind_proxy(rig: &Rig, yaml: &str) -> (Proxy, Bridge) {
    let proxy = Proxy::start(&crate::support::broker::address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    let bridge = rig.bridge_with(yaml, options).await;
    (proxy, bridge)
}

/// 202 carries the id under which the message lies in its queue, persistent and with every
/// property and header of the request in its place.
#[tokio::test]
async fn a_confirmed_message_is_202_and_in_its_queue_whole() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
queues:
  PFX-in: {}
routes:
  PFX-take:
    from: { http: "POST /take/{kind}" }
    to:
      amqp:
        queue: PFX-in
        type: "taken.{path.kind}"
        priority: 7
        expiration: 10m
"#,
        )
        .await;
    let body: Vec<u8> = (0..=255).collect();
    let reply = bridge
        .client()
        .post("/take/fast?a=1&b=%20")
        .header("content-type", "application/octet-stream")
        .header("content-encoding", "identity")
        .header("x-request-id", "call-7")
        .header("X-Colour", "Blue")
        .header("authorization", "Bearer hush")
        .header("cookie", "hush=1")
        .header("x-hop", "1")
        .header("connection", "x-hop")
        .header("hareway-attempt", "99")
        .body(body.clone())
        .send()
        .await
        .expect(202);
    let json = reply.json();
    assert_eq!(json["status"], "accepted");
    let id = json["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("message-id"), id);
    let id_as_uuid = uuid::Uuid::parse_str(&id).expect("a UUID");
    assert_eq!(id_as_uuid.get_version_num(), 7);

    let all = rig.amqp().drain(&rig.name("in")).await;
    assert_eq!(all.len(), 1);
    let got = &all[0];
    assert_eq!(got.body, body);
    assert_eq!(got.message_id(), id);
    assert_eq!(got.correlation_id(), "call-7");
    let properties = &got.properties;
    let text = |value: &Option<lapin::types::ShortString>| {
        value
            .as_ref()
            .map_or(String::new(), |text| text.to_string())
    };
    assert_eq!(text(properties.content_type()), "application/octet-stream");
    assert_eq!(text(properties.content_encoding()), "identity");
    assert_eq!(text(properties.kind()), "taken.fast");
    assert_eq!(text(properties.app_id()), "hareway");
    assert_eq!(text(properties.expiration()), "600000");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.priority(), Some(7));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let age = now.unwrap().as_secs() - properties.timestamp().unwrap();
    assert!(age < 60, "{age} s old");
    for (name, value) in [
        ("x-colour", "Blue"),
        ("http-method", "POST"),
        ("http-path", "/take/fast"),
        ("http-query", "a=1&b=%20"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    for name in [
        "authorization",
        "cookie",
        "x-hop",
        "connection",
        "host",
        "content-length",
        "hareway-attempt",
    ] {
        assert!(!got.headers().contains_key(name), "{name} crossed over");
    }
}

/// The client's own `Message-Id` is the message's id, and an empty body is a body.
#[tokio::test]
async fn the_clients_message_id_is_kept() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(PLAIN).await;
    let reply = bridge
        .client()
        .post("/take")
        .header("message-id", "mine-1")
        .send()
        .await
        .expect(202);
    assert_eq!(reply.header("message-id"), "mine-1");
    assert_eq!(reply.json()["id"], "mine-1");
    let all = rig.amqp().drain(&rig.name("in")).await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].message_id(), &all[0].body[..]),
        ("mine-1", &b""[..])
    );
}

/// A route may change what success looks like, not what it means.
#[tokio::test]
async fn success_looks_as_the_route_says() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
queues:
  PFX-in: {}
exchanges:
  PFX-nowhere: { type: direct }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-in }
    accepted: { status: 200, body: "ok", headers: { x-taken: "yes" } }
  PFX-lose:
    from: { http: "POST /lose" }
    to: { amqp: { exchange: PFX-nowhere, routing_key: k } }
    accepted: { status: 200, body: "ok" }
"#,
        )
        .await;
    let reply = bridge.client().post("/take").send().await.expect(200);
    assert_eq!(
        (reply.text().as_str(), reply.header("x-taken")),
        ("ok", "yes")
    );
    assert!(!reply.header("message-id").is_empty());
    rig.settles_at(&rig.name("in"), 1).await;
    bridge
        .client()
        .post("/lose")
        .send()
        .await
        .expect_problem(502, "unroutable");
}

/// A message that no queue takes is 502 and names exchange and routing key; where the route says
/// `discard` it is success, and counted.
#[tokio::test]
async fn unroutable_is_refused_or_discarded() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
exchanges:
  PFX-topics: { type: topic }
routes:
  PFX-strict:
    from: { http: "POST /strict/{word}" }
    to: { amqp: { exchange: PFX-topics, routing_key: "order.{path.word}" } }
  PFX-loose:
    from: { http: "POST /loose" }
    to: { amqp: { exchange: PFX-topics, routing_key: gone, unroutable: discard } }
"#,
        )
        .await;
    let client = bridge.client();
    let reply = client
        .post("/strict/eu")
        .send()
        .await
        .expect_problem(502, "unroutable");
    assert!(!reply.header("message-id").is_empty());
    let detail = reply.detail();
    assert!(
        detail.contains(&rig.name("topics")) && detail.contains("order.eu"),
        "{detail}"
    );
    let reply = client.post("/loose").send().await.expect(202);
    assert_eq!(reply.json()["status"], "discarded");
    let route = rig.name("loose");
    let labels = [("route", route.as_str()), ("outcome", "discarded")];
    bridge
        .metric_is("hareway_published_total", &labels, 1.0)
        .await;

    // The same key, once somebody is bound to it.
    let queue = rig.queue("late").await;
    rig.amqp()
        .bind(&queue, &rig.name("topics"), "order.*")
        .await;
    client.post("/strict/eu").send().await.expect(202);
    rig.settles_at(&queue, 1).await;
}

/// A full queue that rejects is 503 with `Retry-After`, and the message is not in it.
#[tokio::test]
async fn a_full_queue_is_503() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
queues:
  PFX-full:
    type: classic
    arguments: { x-max-length: 1, x-overflow: reject-publish }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-full }
"#,
        )
        .await;
    let client = bridge.client();
    client.post("/take").send().await.expect(202);
    let reply = client
        .post("/take")
        .send()
        .await
        .expect_problem(503, "rejected-by-broker");
    assert!(reply.header("retry-after").parse::<u32>().is_ok());
    assert!(!reply.header("message-id").is_empty());
    let queue = rig.name("full");
    rig.settles_at(&queue, 1).await;
    rig.amqp().drain(&queue).await;
    client.post("/take").send().await.expect(202);
}

/// While a memory alarm blocks publishers, calls are 503 at once; afterwards all is well again.
#[tokio::test]
async fn a_blocked_broker_is_503_at_once() {
    let broker = Broker::private().await;
    let rig = Rig::on(&broker).await;
    let bridge = rig
        .bridge(
            r#"
queues:
  PFX-in: {}
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: { queue: PFX-in, confirm_timeout: 3s } }
"#,
        )
        .await;
    let client = bridge.client();
    client.post("/take").send().await.expect(202);
    broker
        .ctl(&["set_vm_memory_high_watermark", "0.0001"])
        .await;
    // The broker says that it blocks when it meets the first publish after the alarm: that one
    // has no certain outcome.
    eventually(SOON, "blocked", async || {
        let reply = client.post("/take").send().await;
        match reply.status.as_u16() {
            202 => Err("taken".to_owned()),
            504 => Err(reply.problem()),
            _ => Ok(reply.expect_problem(503, "broker-blocked")),
        }
    })
    .await;
    bridge.metric_is("hareway_broker_blocked", &[], 1.0).await;
    for _ in 0..20 {
        let begun = Instant::now();
        let reply = client
            .post("/take")
            .send()
            .await
            .expect_problem(503, "broker-blocked");
        assert!(reply.header("retry-after").parse::<u32>().is_ok());
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    broker.ctl(&["set_vm_memory_high_watermark", "0.6"]).await;
    eventually(SOON, "taken again", async || {
        let reply = client.post("/take").send_plain().await;
        must(reply.status == 202, || reply.text())
    })
    .await;
    bridge.metric_is("hareway_broker_blocked", &[], 0.0).await;
}

/// While the broker is away calls are 503 at once and the bridge is not ready; both end by
/// themselves.
#[tokio::test]
async fn a_missing_broker_is_503_at_once() {
    let rig = Rig::new().await;
    let (proxy, bridge) = behind_proxy(&rig, PLAIN).await;
    let client = bridge.client();
    client.post("/take").send().await.expect(202);
    proxy.set(|weather| weather.refuse = true);
    proxy.cut();
    bridge.not_ready(SOON).await;
    bridge.cannot_publish(SOON).await;
    for _ in 0..20 {
        let begun = Instant::now();
        let reply = client
            .post("/take")
            .send()
            .await
            .expect_problem(503, "broker-unavailable");
        assert!(reply.header("retry-after").parse::<u32>().is_ok());
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    proxy.resume();
    bridge.ready(SOON).await;
    client.post("/take").send().await.expect(202);
    rig.settles_at(&rig.name("in"), 2).await;
}

/// Without a confirm in time the outcome is unknown, and said to be; a repeat under the same id
/// is safe.
#[tokio::test]
async fn no_confirm_in_time_is_504() {
    let rig = Rig::new().await;
    let yaml = PLAIN.replace("10s", "700ms");
    let (proxy, bridge) = behind_proxy(&rig, &yaml).await;
    let client = bridge.client();
    proxy.set(|weather| weather.stall_down = true);
    let begun = Instant::now();
    let call = client.post("/take").header("message-id", "m-1");
    let reply = call.send().await.expect_problem(504, "outcome-unknown");
    assert!(
        begun.elapsed() >= Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(reply.header("message-id"), "m-1");
    proxy.resume();
    eventually(SOON, "taken again", async || {
        let call = client.post("/take").header("message-id", "m-1");
        let reply = call.send_plain().await;
        must(reply.status == 202, || reply.text())
    })
    .await;
    let all = rig.amqp().drain(&rig.name("in")).await;
    assert!(!all.is_empty() && all.iter().all(|got| got.message_id() == "m-1"));
}

/// Beyond the limit of publishes under way, calls are 503 at once.
#[tokio::test]
async fn too_many_at_once_are_503() {
    let rig = Rig::new().await;
    let yaml = format!("amqp: {{ in_flight: 4 }}\n{}", PLAIN.replace("10s", "4s"));
    let (proxy, bridge) = behind_proxy(&rig, &yaml).await;
    proxy.stall();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let client = bridge.client();
        calls.spawn(async move {
            let begun = Instant::now();
            (client.post("/take").send().await, begun.elapsed())
        });
    }
    let mut refused = 0;
    for (reply, took) in calls.join_all().await {
        match (reply.status.as_u16(), reply.problem().as_str()) {
            (503, "overloaded") => {
                refused += 1;
                assert!(reply.header("retry-after").parse::<u32>().is_ok());
                assert!(took < AT_ONCE, "{took:?}");
            }
            (504, "outcome-unknown") => {}
            _ => panic!("{}", reply.text()),
        }
    }
    assert_eq!(refused, 8);
    proxy.resume();
    eventually(SOON, "taken again", async || {
        let reply = bridge.client().post("/take").send_plain().await;
        must(reply.status == 202, || reply.text())
    })
    .await;
}

/// A body over the limit is refused by its `Content-Length` before it is sent, and otherwise as
/// soon as it exceeds; the route's own limit counts.
#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
http: { body_limit: 100KiB }
queues:
  PFX-in: {}
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-in }
  PFX-small:
    from: { http: { method: POST, path: /small, body_limit: 10B } }
    to: { amqp: PFX-in }
"#,
        )
        .await;
    let client = bridge.client();
    client
        .post("/take")
        .body(vec![b'x'; 100 * 1024])
        .send()
        .await
        .expect(202);
    client
        .post("/take")
        .body(vec![b'x'; 100 * 1024 + 1])
        .send()
        .await
        .expect_problem(413, "body-too-large");
    client
        .post("/small")
        .body("0123456789")
        .send()
        .await
        .expect(202);
    client
        .post("/small")
        .body("0123456789a")
        .send()
        .await
        .expect_problem(413, "body-too-large");

    let mut early = Raw::connect(bridge.http()).await;
    early
        .write(b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n")
        .await;
    let (status, _) = early
        .read_answer(AT_ONCE)
        .await
        .expect("an answer before the body");
    assert_eq!(status, 413);

    let mut chunked = Raw::connect(bridge.http()).await;
    chunked.write(b"POST /small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n").await;
    let (status, text) = chunked
        .read_answer(AT_ONCE)
        .await
        .expect("an answer before the end");
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("urn:hareway:body-too-large"), "{text}");
    rig.settles_at(&rig.name("in"), 2).await;
}

/// All bodies together are bounded: what finds no room is 503 at once, and there is room again.
#[tokio::test]
async fn bodies_beyond_the_buffer_are_503() {
    let rig = Rig::new().await;
    let yaml = format!("buffer_limit: 300KiB\nhttp: {{ body_limit: 200KiB }}\n{PLAIN}");
    let (proxy, bridge) = behind_proxy(&rig, &yaml).await;
    proxy.stall();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = bridge.client();
        calls.spawn(async move {
            let reply = client
                .post("/take")
                .body(vec![b'x'; 100 * 1024])
                .send()
                .await;
            (
                reply.status.as_u16(),
                reply.status == 503 && reply.problem() == "overloaded",
            )
        });
    }
    let first = calls.join_next().await.expect("eight").expect("an answer");
    assert_eq!(first, (503, true));
    proxy.resume();
    let rest = calls.join_all().await;
    let taken = rest.iter().filter(|(status, _)| *status == 202).count();
    assert!((1..=3).contains(&taken), "{rest:?}");
    bridge
        .client()
        .post("/take")
        .body(vec![b'x'; 100 * 1024])
        .send()
        .await
        .expect(202);
}

/// What the broker finds too large is 413, and its neighbours on the same channel come through.
#[tokio::test]
async fn larger_than_the_broker_allows_is_413_and_harms_nobody() {
    let setup = Setup {
        conf: "max_message_size = 65536\n".to_owned(),
        ..Setup::default()
    };
    let broker = Broker::private_with(setup).await;
    let rig = Rig::on(&broker).await;
    let bridge = rig.bridge(PLAIN).await;
    let mut calls = tokio::task::JoinSet::new();
    for task in 0..16 {
        let client = bridge.client();
        calls.spawn(async move {
            let mut small = Vec::new();
            for step in 0..20 {
                let id = format!("{task}-{step}");
                let large = (task + step) % 8 == 0;
                let body = vec![b'x'; if large { 70_000 } else { 100 }];
                let call = client.post("/take").header("message-id", &id).body(body);
                let reply = call.send().await;
                if large {
                    reply.expect_problem(413, "body-too-large");
                } else {
                    reply.expect(202);
                    small.push(id);
                }
            }
            small
        });
    }
    let mut taken: Vec<String> = calls.join_all().await.concat();
    let all = rig.amqp().drain_many(&rig.name("in")).await;
    let mut found: Vec<String> = all.iter().map(|got| got.message_id().to_owned()).collect();
    found.sort();
    found.dedup();
    taken.sort();
    assert_eq!(found, taken);
}

/// Unknown paths and methods, missing values and impossible keys are the caller's mistakes: each
/// has its status, says what is wrong, and leaves the connection usable.
#[tokio::test]
async fn the_callers_mistakes_are_4xx_and_keep_the_connection() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
exchanges:
  PFX-topics: { type: topic }
queues:
  PFX-in:
    bind: { PFX-topics: '#' }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-in }
  PFX-key:
    from: { http: "POST /key/{word}" }
    to: { amqp: { exchange: PFX-topics, routing_key: "a.{path.word}.{query.colour}" } }
"#,
        )
        .await;
    let client = bridge.client();
    client
        .post("/none")
        .send()
        .await
        .expect_problem(404, "not-found");
    let reply = client
        .get("/take")
        .send()
        .await
        .expect_problem(405, "method-not-allowed");
    assert!(
        reply.header("allow").contains("POST"),
        "{}",
        reply.header("allow")
    );
    let reply = client
        .post("/key/x")
        .send()
        .await
        .expect_problem(400, "bad-request");
    assert!(reply.detail().contains("colour"), "{}", reply.detail());
    let long = "x".repeat(260);
    client
        .post(&format!("/key/{long}?colour=red"))
        .send()
        .await
        .expect_problem(400, "bad-request");
    client
        .post("/key/a.b?colour=red")
        .send()
        .await
        .expect_problem(400, "bad-request");
    let call = client.post("/take").header("message-id", &long);
    call.send().await.expect_problem(400, "bad-request");
    let call = client
        .post("/take")
        .header("message-id", "1")
        .header("message-id", "2");
    call.send().await.expect_problem(400, "bad-request");
    client.post("/key/x?colour=red").send().await.expect(202);
    let got = rig.amqp().drain(&rig.name("in")).await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].routing_key, "a.x.red");

    let mut raw = Raw::connect(bridge.http()).await;
    for (target, expected) in [("/none", 404), ("/key/x", 400), ("/take", 202)] {
        let request = format!("POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi");
        assert!(raw.write(request.as_bytes()).await);
        let (status, text) = raw.read_answer(SOON).await.expect("the connection lives");
        assert_eq!(status, expected, "{text}");
    }
}

/// A client that leaves does not take back a publish that has begun.
#[tokio::test]
async fn a_client_that_leaves_cancels_nothing() {
    let rig = Rig::new().await;
    let (proxy, bridge) = behind_proxy(&rig, PLAIN).await;
    proxy.set(|weather| weather.stall_up = true);
    let mut raw = Raw::connect(bridge.http()).await;
    raw.write(b"POST /take HTTP/1.1\r\nhost: x\r\nmessage-id: left\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    let route = rig.name("take");
    bridge
        .metric_is("hareway_in_flight", &[("route", &route)], 1.0)
        .await;
    drop(raw);
    proxy.resume();
    let queue = rig.name("in");
    rig.settles_at(&queue, 1).await;
    assert_eq!(rig.amqp().drain(&queue).await[0].message_id(), "left");
    bridge
        .metric_is("hareway_in_flight", &[("route", &route)], 0.0)
        .await;
}

/// HTTP/2 by prior knowledge gives the same, many calls on one connection.
#[tokio::test]
async fn h2c_works() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(PLAIN).await;
    let client = Client::h2c(bridge.http());
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..50 {
        let client = client.clone();
        calls.spawn(async move {
            let id = format!("h2-{number}");
            let call = client
                .post("/take")
                .header("message-id", &id)
                .body(vec![0; 20_000]);
            assert_eq!(call.send().await.expect(202).header("message-id"), id);
        });
    }
    calls.join_all().await;
    client
        .get("/take")
        .send()
        .await
        .expect_problem(405, "method-not-allowed");
    rig.settles_at(&rig.name("in"), 50).await;
}

/// Publishes are counted by route and outcome, calls by route and status.
#[tokio::test]
async fn calls_and_publishes_are_counted() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(PLAIN).await;
    let client = bridge.client();
    for _ in 0..3 {
        client.post("/take").send().await.expect(202);
    }
    client.post("/none").send().await.expect(404);
    let route = rig.name("take");
    let routed = [("route", route.as_str()), ("outcome", "routed")];
    bridge
        .metric_is("hareway_published_total", &routed, 3.0)
        .await;
    let accepted = [("route", route.as_str()), ("status", "202")];
    bridge
        .metric_is("hareway_http_requests_total", &accepted, 3.0)
        .await;
    let missing = [("route", ""), ("status", "404")];
    bridge
        .metric_is("hareway_http_requests_total", &missing, 1.0)
        .await;
    bridge
        .metric_is(
            "hareway_http_request_seconds_count",
            &[("route", &route)],
            3.0,
        )
        .await;
    bridge.metric_is("hareway_broker_up", &[], 1.0).await;
}

/// A queue that exists with other arguments is taken as it is, with what it holds.
#[tokio::test]
async fn an_existing_queue_is_taken_as_it_is() {
    let rig = Rig::new().await;
    let queue = rig.queue("in").await;
    rig.amqp().send(&queue, with_id("before"), b"").await;
    let bridge = rig
        .bridge(
            r#"
queues:
  PFX-in: { type: quorum, arguments: { x-max-length: 5 } }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-in }
"#,
        )
        .await;
    bridge.client().post("/take").send().await.expect(202);
    rig.settles_at(&queue, 2).await;
}
