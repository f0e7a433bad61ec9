//! Request/reply: each caller gets the reply to its own request, or is told that there is none.

use std::time::Duration;

use lapin::types::AMQPValue;
use tokio::time::Instant;

use crate::support::{
    Answer, Backend, Bridge, Proxy, Rig, SOON, Worker,
    amqp::{Got, table, text},
    bridge::{Options, free_port},
    broker::{address_of, with_address},
    client::Raw,
    eventually, must,
    worker::{Said, reply, reply_to},
};

/// What answers "at once" may take on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A route whose reply settings are `reply`.
fn route(reply: &str) -> String {
    format!(
        r#"
queues:
  PFX-ask: {{}}
routes:
  PFX-call:
    from: {{ http: "POST /call" }}
    to: {{ amqp: PFX-ask }}
    reply: {reply}
"#
    )
}

async fn outcome(rig: &Rig, bridge: &Bridge, outcome: &str, count: f64) {
    let route = rig.name("call");
    let labels = [("route", route.as_str()), ("outcome", outcome)];
    bridge
        .metric_is("hareway_replies_total", &labels, count)
        .await;
}

/// No call waits any more.
async fn table_is_empty(bridge: &Bridge) {
    bridge.metric_is("hareway_waiting_replies", &[], 0.0).await;
}

/// The worker's reply is the response; what travels carries an unguessable id, a reply queue and
/// the time that is left, and the caller's own correlation id comes back to the caller only.
#[tokio::test]
async fn the_reply_is_the_response() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&route("{ timeout: 9s }")).await;
    let worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        let mut said = reply(request, request.body.to_ascii_uppercase());
        said.properties = said
            .properties
            .with_content_type("text/plain".into())
            .with_headers(table(&[
                ("x-worker", text("seven")),
                ("connection", text("close")),
            ]));
        vec![said]
    })
    .await;
    let client = bridge.client();
    let call = client
        .post("/call")
        .header("correlation-id", "mine")
        .body("quiet");
    let answer = call.send().await.expect(200);
    assert_eq!(answer.text(), "QUIET");
    assert_eq!(answer.header("content-type"), "text/plain");
    assert_eq!(answer.header("x-worker"), "seven");
    assert_eq!(answer.header("correlation-id"), "mine");
    client.post("/call").body("again").send().await.expect(200);

    let seen = worker.seen();
    let [first, second] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_ne!(first.correlation_id(), "mine");
    assert!(
        first.correlation_id().len() >= 32,
        "{}",
        first.correlation_id()
    );
    assert_ne!(first.correlation_id(), second.correlation_id());
    assert!(!first.message_id().is_empty());
    let left = first.properties.expiration().as_ref().expect("expiration");
    let left: u64 = left.as_str().parse().expect("milliseconds");
    assert!(left <= 9_000 && left > 5_000, "{left} ms");
    outcome(&rig, &bridge, "matched", 2.0).await;
    table_is_empty(&bridge).await;
}

/// The response's status comes from the reply: its `http-status`, or what the route says. One that
/// is none is the worker's mistake: 502.
#[tokio::test]
async fn the_status_is_the_replys() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&route("{ timeout: 9s }")).await;
    let _worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        let asked = String::from_utf8_lossy(&request.body).into_owned();
        let status = match asked.parse() {
            Ok(number) => AMQPValue::LongInt(number),
            Err(_) => text(asked.trim_matches('\'')),
        };
        let mut said = reply(request, "body");
        said.properties = said
            .properties
            .with_headers(table(&[("http-status", status)]));
        vec![said]
    })
    .await;
    let client = bridge.client();
    for (asked, status) in [("201", 201), ("404", 404), ("'503'", 503), ("204", 204)] {
        let answer = client
            .post("/call")
            .body(asked)
            .send_plain()
            .await
            .expect(status);
        if status != 204 {
            assert_eq!(answer.text(), "body");
        }
    }
    for asked in ["99", "100", "600", "70000", "-1", "'no'", "''"] {
        let answer = client.post("/call").body(asked).send().await;
        answer.expect_problem(502, "bad-reply");
    }
    table_is_empty(&bridge).await;
}

/// `reply.status` makes the status from the reply's own properties.
#[tokio::test]
async fn a_route_may_say_where_the_status_is() {
    let rig = Rig::new().await;
    let yaml = route(r#"{ timeout: 9s, status: "{header.x-code:-200}" }"#);
    let bridge = rig.bridge(&yaml).await;
    let _worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        let mut said = reply(request, "body");
        if request.body == b"code" {
            said.properties = said
                .properties
                .with_headers(table(&[("x-code", text("418"))]));
        }
        vec![said]
    })
    .await;
    let client = bridge.client();
    client
        .post("/call")
        .body("code")
        .send_plain()
        .await
        .expect(418);
    client
        .post("/call")
        .body("none")
        .send_plain()
        .await
        .expect(200);
}

/// Without a reply in time it is 504, nothing is left behind, and the late reply reaches nobody.
#[tokio::test]
async fn no_reply_in_time_is_504_and_late_ones_reach_nobody() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&route("{ timeout: 700ms }")).await;
    let worker = Worker::start_paused(rig.url(), &rig.name("ask"), |request| {
        let stranger = Said {
            properties: reply(request, "")
                .properties
                .with_correlation_id("0123456789abcdef".into()),
            ..reply(request, "stranger")
        };
        let nameless = Said {
            properties: lapin::BasicProperties::default(),
            ..reply(request, "nameless")
        };
        vec![
            stranger,
            nameless,
            reply(request, "once"),
            reply(request, "twice"),
        ]
    })
    .await;
    let client = bridge.client();
    let begun = Instant::now();
    let answer = client.post("/call").body("slow").send().await;
    let took = begun.elapsed();
    let answer = answer.expect_problem(504, "reply-timeout");
    assert!(!answer.header("message-id").is_empty());
    assert!(
        took >= Duration::from_millis(690) && took < Duration::from_secs(5),
        "{took:?}"
    );
    table_is_empty(&bridge).await;
    outcome(&rig, &bridge, "timeout", 1.0).await;
    worker.go();
    outcome(&rig, &bridge, "late", 2.0).await;
    let unknown = [("route", ""), ("outcome", "unknown")];
    bridge
        .metric_is("hareway_replies_total", &unknown, 2.0)
        .await;
    // The next caller gets its own reply, once.
    let answer = client.post("/call").body("next").send().await.expect(200);
    assert_eq!(answer.text(), "once");
    outcome(&rig, &bridge, "repeated", 1.0).await;
    outcome(&rig, &bridge, "late", 2.0).await;
}

/// A caller that leaves takes its place in the table along.
#[tokio::test]
async fn a_caller_that_leaves_is_forgotten() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&route("{ timeout: 30s }")).await;
    let mut raw = Raw::connect(bridge.http()).await;
    raw.write(b"POST /call HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    rig.settles_at(&rig.name("ask"), 1).await;
    bridge.metric_is("hareway_waiting_replies", &[], 1.0).await;
    drop(raw);
    table_is_empty(&bridge).await;
    outcome(&rig, &bridge, "abandoned", 1.0).await;
}

/// `correlate: message_id` is for workers that answer with the request's message id.
#[tokio::test]
async fn workers_may_answer_with_the_message_id() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(&route("{ timeout: 9s, correlate: message_id }"))
        .await;
    let worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        let mut said = reply(request, "done");
        said.properties = said
            .properties
            .with_correlation_id(request.message_id().into());
        vec![said]
    })
    .await;
    let client = bridge.client();
    let call = client
        .post("/call")
        .header("message-id", "guessable")
        .header("correlation-id", "mine");
    let answer = call.send().await.expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.header("correlation-id")),
        ("done", "mine")
    );
    assert_ne!(worker.seen()[0].message_id(), "guessable");
}

/// While the broker is away the call is refused at once, not held until its timeout.
#[tokio::test]
async fn a_missing_broker_is_503_at_once() {
    let rig = Rig::new().await;
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    let bridge = rig.bridge_with(&route("{ timeout: 9s }"), options).await;
    proxy.set(|weather| weather.refuse = true);
    proxy.cut();
    bridge.not_ready(SOON).await;
    bridge.cannot_publish(SOON).await;
    let begun = Instant::now();
    let answer = bridge
        .client()
        .post("/call")
        .send()
        .await
        .expect_problem(503, "broker-unavailable");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    table_is_empty(&bridge).await;
    proxy.resume();
    bridge.ready(SOON).await;
    let _worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, "back")]
    })
    .await;
    bridge.client().post("/call").send().await.expect(200);
}

/// No more callers wait at once than the route allows.
#[tokio::test]
async fn waiting_callers_are_bounded() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&route("{ timeout: 30s, waiting: 3 }")).await;
    let worker = Worker::start_paused(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, "ok")]
    })
    .await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let client = bridge.client();
        calls.spawn(async move { client.post("/call").send().await.status });
    }
    bridge.metric_is("hareway_waiting_replies", &[], 3.0).await;
    let begun = Instant::now();
    let answer = bridge
        .client()
        .post("/call")
        .send()
        .await
        .expect_problem(503, "overloaded");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    assert!(begun.elapsed() < AT_ONCE);
    worker.go();
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
    bridge.client().post("/call").send().await.expect(200);
}

/// An unroutable request is 502 at once, and leaves nobody waiting.
#[tokio::test]
async fn an_unroutable_request_is_502() {
    let rig = Rig::new().await;
    let yaml = r#"
exchanges:
  PFX-nowhere: { type: direct }
routes:
  PFX-call:
    from: { http: "POST /call" }
    to: { amqp: { exchange: PFX-nowhere, routing_key: k } }
    reply: { timeout: 30s }
"#;
    let bridge = rig.bridge(yaml).await;
    bridge
        .client()
        .post("/call")
        .send()
        .await
        .expect_problem(502, "unroutable");
    table_is_empty(&bridge).await;
}

/// Two running bridges share one reply queue: each reply reaches the caller that waits for it,
/// whichever of the two the broker gives it to.
#[tokio::test]
async fn two_bridges_share_a_reply_queue() {
    let rig = Rig::new().await;
    let yaml = route("{ timeout: 20s, queue: PFX-replies }")
        .replace("queues:", "queues:\n  PFX-replies: {}");
    let bridges = [rig.bridge(&yaml).await, rig.bridge(&yaml).await];
    rig.consumed_by(&rig.name("replies"), 2).await;
    let replies = rig.name("replies");
    // It answers to the one queue that it knows, whatever it is asked.
    let _worker = Worker::start(rig.url(), &rig.name("ask"), move |request| {
        vec![Said {
            queue: replies.clone(),
            ..reply(request, request.body.clone())
        }]
    })
    .await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200 {
        let client = bridges[number % 2].client();
        calls.spawn(async move {
            let body = format!("call {number}");
            let answer = client
                .post("/call")
                .body(body.clone())
                .send()
                .await
                .expect(200);
            assert_eq!(answer.text(), body);
        });
    }
    calls.join_all().await;
    let mut handed_over = 0.0;
    for bridge in &bridges {
        outcome(&rig, bridge, "matched", 100.0).await;
        table_is_empty(bridge).await;
        handed_over += bridge
            .metric("hareway_replies_total", &[("outcome", "handed_over")])
            .await;
    }
    assert!(handed_over > 0.0);
}

/// A service proxied through a queue sees method, path, query and body as they were sent, and its
/// answer comes back whole, whatever its status.
#[tokio::test]
async fn via_carries_the_whole_call() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let yaml = format!(
        r#"
routes:
  PFX-svc:
    from: {{ http: "* /svc/{{*rest}}" }}
    via: PFX-through
    to: {{ http: "{}" }}
    reply: {{ timeout: 10s }}
"#,
        backend.url("")
    );
    let bridge = rig.bridge(&yaml).await;
    let client = bridge.client();
    let cases = [
        ("PUT", "/svc/a/b.c?x=1&y=%2F", 201),
        ("GET", "/svc/", 200),
        ("DELETE", "/svc/%C3%A4/1", 404),
        ("POST", "/svc/x?", 500),
        ("PATCH", "/svc/y", 204),
    ];
    for (number, (method, target, status)) in cases.into_iter().enumerate() {
        backend.script([Answer::status(status)
            .header("x-made", "here")
            .body(if status == 204 { "" } else { "answer" })]);
        let body: Vec<u8> = (0..=255).collect();
        let call = client
            .call(method.parse().unwrap(), target)
            .header("content-type", "application/octet-stream")
            .header("x-colour", "Blue")
            .body(body.clone());
        let answer = call.send_plain().await.expect(status);
        assert_eq!(answer.header("x-made"), "here");
        assert_eq!(answer.text(), if status == 204 { "" } else { "answer" });
        let seen = backend.requests().pop().expect("a request");
        assert_eq!(backend.count(), number + 1);
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(p, q)| (p, Some(q)));
        assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, path));
        assert_eq!(
            seen.query.as_deref().unwrap_or_default(),
            query.unwrap_or_default()
        );
        assert_eq!(
            (seen.header("x-colour"), &seen.body[..]),
            ("Blue", &body[..])
        );
    }
    client
        .get("/svc/../etc")
        .send()
        .await
        .expect_problem(400, "bad-request");
    assert_eq!(backend.count(), cases.len());
    table_is_empty(&bridge).await;
}

/// A service that is away or too slow is told to the caller who waits, at once and not by silence.
#[tokio::test]
async fn via_tells_of_a_failing_service() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::hang());
    let yaml = format!(
        r#"
routes:
  PFX-slow:
    from: {{ http: "POST /slow" }}
    via: PFX-to-slow
    to: {{ http: {{ url: "{}", timeout: 500ms }} }}
    reply: {{ timeout: 20s }}
  PFX-away:
    from: {{ http: "POST /away" }}
    via: PFX-to-away
    to: {{ http: "http://127.0.0.1:{}" }}
    reply: {{ timeout: 20s }}
"#,
        backend.url(""),
        free_port()
    );
    let bridge = rig.bridge(&yaml).await;
    for (path, status) in [("/slow", 504), ("/away", 502)] {
        let begun = Instant::now();
        let answer = bridge.client().post(path).send_plain().await;
        answer.expect(status);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(backend.count(), 1, "not retried");
    table_is_empty(&bridge).await;
}

/// `via` without `reply` accepts, and delivers behind the caller's back.
#[tokio::test]
async fn via_without_reply_is_store_and_forward() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.script([Answer::status(503)]);
    let yaml = format!(
        r#"
routes:
  PFX-svc:
    from: {{ http: "POST /svc/{{*rest}}" }}
    via: PFX-through
    to: {{ http: "{}" }}
    retry: [200ms]
"#,
        backend.url("")
    );
    let bridge = rig.bridge(&yaml).await;
    let answer = bridge
        .client()
        .post("/svc/a?b=c")
        .body("x")
        .send()
        .await
        .expect(202);
    let seen = backend.wait_for(2, SOON).await;
    for request in &seen {
        assert_eq!(
            (request.path.as_str(), request.query.as_deref()),
            ("/svc/a", Some("b=c"))
        );
        assert_eq!(request.header("message-id"), answer.header("message-id"));
    }
    rig.settles_at(&rig.name("through"), 0).await;
}

/// Many callers at once, replies in another order: each gets its own.
#[tokio::test]
async fn nobody_gets_anothers_reply() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(&route("{ timeout: 30s }")).await;
    let held: std::sync::Mutex<Vec<Got>> = std::sync::Mutex::default();
    // Answers in batches of ten, last first.
    let _worker = Worker::start(rig.url(), &rig.name("ask"), move |request| {
        let mut held = held.lock().unwrap();
        held.push(request.clone());
        if held.len() < 10 {
            return Vec::new();
        }
        held.drain(..)
            .rev()
            .map(|request| Said {
                queue: reply_to(&request),
                ..reply(&request, request.body.clone())
            })
            .collect()
    })
    .await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..300 {
        let client = bridge.client();
        calls.spawn(async move {
            let body = format!("call {number}");
            let call = client
                .post("/call")
                .header("correlation-id", "same-for-all")
                .body(body.clone());
            let answer = call.send().await.expect(200);
            assert_eq!(
                (answer.text(), answer.header("correlation-id")),
                (body, "same-for-all")
            );
        });
    }
    eventually(Duration::from_secs(40), "all answered", async || {
        while let Some(done) = calls.try_join_next() {
            done.expect("the right reply");
        }
        must(calls.is_empty(), || format!("{} to go", calls.len()))
    })
    .await;
    outcome(&rig, &bridge, "matched", 300.0).await;
}

/// Whatever becomes of the connections meanwhile, each call ends within its deadline, with its own
/// reply or the reason why there is none, and nobody is left in the table.
#[tokio::test]
async fn cut_connections_leave_nobody_waiting() {
    let rig = Rig::new().await;
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    let yaml = format!(
        "amqp: {{ reconnect_max: 200ms }}\n{}",
        route("{ timeout: 5s }")
    );
    let bridge = rig.bridge_with(&yaml, options).await;
    let _worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, request.body.clone())]
    })
    .await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16 {
        let client = bridge.client();
        callers.spawn(async move {
            let mut answered = 0;
            for number in 0..60 {
                let body = format!("{caller}-{number}");
                let begun = Instant::now();
                let answer = client.post("/call").body(body.clone()).send().await;
                assert!(
                    begun.elapsed() < Duration::from_secs(8),
                    "{:?}",
                    begun.elapsed()
                );
                match answer.status.as_u16() {
                    200 => {
                        assert_eq!(answer.text(), body);
                        answered += 1;
                    }
                    503 => tokio::time::sleep(Duration::from_millis(20)).await,
                    504 => {}
                    _ => panic!("{}", answer.text()),
                }
            }
            answered
        });
    }
    for round in 1..=4 {
        let route = rig.name("call");
        let matched = [("route", route.as_str()), ("outcome", "matched")];
        eventually(SOON, "answered again", async || {
            let count = bridge.metric("hareway_replies_total", &matched).await;
            must(count >= f64::from(round * 100), || count.to_string())
        })
        .await;
        proxy.cut();
    }
    let answered: u32 = callers.join_all().await.into_iter().sum();
    assert!(answered >= 500, "{answered} of 960");
    table_is_empty(&bridge).await;
    let replies = hareway::config::names::reply_queue(&rig.name("i0"));
    rig.consumed_by(&replies, 1).await;
}
