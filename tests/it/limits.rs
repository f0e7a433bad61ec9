//! No more calls than a route allows, taken or made.

use std::time::Duration;

use crate::support::{
    Backend, Rig, SOON, Worker, amqp::with_id, client::Raw, eventually, must, worker::reply,
};

/// Calls beyond the rate are refused with when to come again, and whoever comes then is served.
#[tokio::test]
async fn callers_beyond_the_rate_are_told_when_to_come_again() {
    let rig = Rig::new().await;
    let yaml = r#"
queues:
  PFX-in: {}
routes:
  PFX-slow:
    from: { http: "POST /slow" }
    to: { amqp: PFX-in }
    limits: { rate: 1/h, burst: 3 }
  PFX-steady:
    from: { http: "POST /steady" }
    to: { amqp: PFX-in }
    limits: { rate: 1/s, burst: 1 }
"#;
    let bridge = rig.bridge(yaml).await;
    let client = bridge.client();
    for _ in 0..3 {
        client.post("/slow").body("x").send().await.expect(202);
    }
    let refused = client.post("/slow").body("x").send().await;
    let refused = refused.expect_problem(429, "rate-limited");
    let later: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((3000..=3600).contains(&later), "{later}");
    rig.settles_at(&rig.name("in"), 3).await;

    // However slow the machine: sooner or later two calls are less than a second apart.
    let mut taken = 3;
    let refused = eventually(SOON, "a refusal", async || {
        let answer = client.post("/steady").body("x").send().await;
        if answer.status == 429 {
            return Ok(answer);
        }
        answer.expect(202);
        taken += 1;
        Err("not too fast".to_owned())
    })
    .await;
    assert_eq!(refused.header("retry-after"), "1");
    eventually(SOON, "room again", async || {
        let answer = client.post("/steady").body("x").send().await;
        must(answer.status == 202, || answer.text())
    })
    .await;
    rig.settles_at(&rig.name("in"), taken + 1).await;
    let (route, status) = (rig.name("slow"), ("status", "429"));
    let labels = [("route", route.as_str()), status];
    bridge
        .metric_is("hareway_http_requests_total", &labels, 1.0)
        .await;
}

/// No more calls at once than the route allows; a place is free when its call is answered, and when
/// its caller has left.
#[tokio::test]
async fn callers_beyond_the_concurrency_are_refused() {
    let rig = Rig::new().await;
    let yaml = r#"
queues:
  PFX-ask: {}
routes:
  PFX-call:
    from: { http: "POST /call" }
    to: { amqp: PFX-ask }
    reply: { timeout: 60s }
    limits: { concurrency: 2 }
drain_timeout: 90s
"#;
    let bridge = rig.bridge(yaml).await;
    let request = b"POST /call HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";
    let mut first = Raw::connect(bridge.http()).await;
    let mut second = Raw::connect(bridge.http()).await;
    for caller in [&mut first, &mut second] {
        assert!(caller.write(request).await);
    }
    rig.settles_at(&rig.name("ask"), 2).await;
    let client = bridge.client();
    let refused = client.post("/call").body("x").send().await;
    let refused = refused.expect_problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "1");

    drop(first);
    let _worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, "said")]
    })
    .await;
    let (status, _) = second.read_answer(SOON).await.expect("an answer");
    assert_eq!(status, 200);
    // The one that has left and the one that was answered have both made room.
    for _ in 0..3 {
        eventually(SOON, "room again", async || {
            let answer = client.post("/call").body("x").send_plain().await;
            must(answer.status == 200, || answer.text())
        })
        .await;
    }
}

/// A backend is called at the route's pace, however many messages there are.
#[tokio::test]
async fn a_backend_is_called_at_an_even_pace() {
    const COUNT: usize = 40;
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let yaml = format!(
        r#"
routes:
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: "{}" }}
    limits: {{ rate: 20/s }}
"#,
        backend.url("/")
    );
    let bridge = rig.bridge(&yaml).await;
    let messages = (0..COUNT).map(|number| (with_id(&format!("m-{number}")), Vec::new()));
    rig.amqp()
        .publish_all("", &rig.name("work"), messages)
        .await;
    let seen = backend.wait_for(COUNT, SOON).await;
    let interval = Duration::from_millis(50);
    // A call may be late at the backend, and the next one not: one interval is left out for that,
    // and half a second for a machine that is busy.
    let slack = interval + Duration::from_millis(500);
    for (count, request) in (0..).zip(&seen) {
        let after = request.at - seen[0].at;
        assert!(after + slack >= interval * count, "call {count}: {after:?}");
    }
    let route = rig.name("fwd");
    let labels = [("route", route.as_str()), ("outcome", "delivered")];
    bridge
        .metric_is("hareway_deliveries_total", &labels, COUNT as f64)
        .await;
}
