//! Broker trouble: the bridge comes back by itself, always, with exactly what it had.

use std::{path::Path, time::Duration};

use hareway::config::names::{parked_queue, retry_queue};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{
    Backend, Broker, Proxy, Rig, SOON, Worker,
    amqp::with_id,
    bridge::{Options, free_port},
    broker::{Setup, address_of, with_address},
    eventually, must,
    worker::reply,
};

/// From the broker's first answer until the bridge is ready: the pauses between its attempts, and
/// the time the node takes to open its queues.
const BACK_AGAIN: Duration = Duration::from_secs(15);

/// All three flows.
fn three_flows(backend: &Backend) -> String {
    format!(
        r#"
amqp: {{ reconnect_max: 1s }}
queues:
  PFX-in: {{}}
  PFX-ask: {{}}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: PFX-in }}
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: "{0}" }}
    retry: [200ms]
  PFX-other:
    from: {{ amqp: PFX-more }}
    to: {{ http: "{0}" }}
  PFX-call:
    from: {{ http: "POST /call" }}
    to: {{ amqp: PFX-ask }}
    reply: {{ timeout: 20s }}
"#,
        backend.url("/")
    )
}

fn through(rig: &Rig, proxy: &Proxy) -> Options {
    Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    }
}

/// After ten restarts, half of them crashes, there are exactly the configured consumers, and all
/// flows work.
#[tokio::test]
async fn ten_broker_restarts_leave_exactly_the_configured_consumers() {
    let broker = Broker::private().await;
    let mut rig = Rig::on(&broker).await;
    let backend = Backend::start().await;
    let bridge = rig.bridge(&three_flows(&backend)).await;
    let reply_queue = hareway::config::names::reply_queue(&rig.name("i0"));
    let consumed = [rig.name("work"), rig.name("more"), reply_queue];
    for queue in &consumed {
        rig.consumed_by(queue, 1).await;
    }
    for round in 0..10 {
        if round % 2 == 0 {
            broker.restart().await;
        } else {
            broker.kill().await;
            broker.start_again().await;
        }
        eventually(BACK_AGAIN, "taken again", async || {
            let reply = bridge.client().post("/take").send_plain().await;
            must(reply.status == 202, || reply.text())
        })
        .await;
        bridge.ready(BACK_AGAIN).await;
    }
    rig.reconnect().await;
    for queue in &consumed {
        rig.consumed_by(queue, 1).await;
    }
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    rig.amqp()
        .send(&rig.name("more"), with_id("m-2"), b"")
        .await;
    backend.wait_for(2, SOON).await;
    let _worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, "ok")]
    })
    .await;
    bridge.client().post("/call").send().await.expect(200);
    let sessions = bridge.metric("hareway_broker_sessions_total", &[]).await;
    assert!(
        sessions >= 22.0,
        "two connections, eleven times: {sessions}"
    );
}

/// A reply that comes after a broker restart reaches the caller that still waits.
#[tokio::test]
async fn replies_survive_a_broker_restart() {
    let broker = Broker::private().await;
    let rig = Rig::on(&broker).await;
    let backend = Backend::start().await;
    let yaml = three_flows(&backend).replace("timeout: 20s", "timeout: 25s");
    let bridge = rig.bridge(&yaml).await;
    let client = bridge.client();
    let call = tokio::spawn(async move { client.post("/call").body("ask").send().await });
    bridge.metric_is("hareway_waiting_replies", &[], 1.0).await;
    rig.settles_at(&rig.name("ask"), 1).await;
    broker.restart().await;
    bridge.ready(BACK_AGAIN).await;
    let worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, "kept")]
    })
    .await;
    let answer = call.await.unwrap().expect(200);
    assert_eq!(answer.text(), "kept");
    assert_eq!(worker.seen().len(), 1);
}

/// A broker that is not there yet is no reason to give up: alive, not ready, then ready.
#[tokio::test]
async fn the_broker_may_come_after_the_bridge() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let proxy = Proxy::start(&address_of(rig.url())).await;
    proxy.set(|weather| weather.refuse = true);
    let bridge = rig.start_with(&three_flows(&backend), through(&rig, &proxy));
    eventually(SOON, "alive", async || {
        let client = crate::support::Client::new(bridge.admin());
        let reply = client.get("/healthz").attempt().await?;
        must(reply.status == 200, || reply.text())
    })
    .await;
    let reason = bridge.not_ready(SOON).await.text();
    assert!(reason.to_lowercase().contains("broker"), "{reason}");
    bridge
        .client()
        .post("/take")
        .send()
        .await
        .expect_problem(503, "broker-unavailable");
    proxy.resume();
    bridge.ready(BACK_AGAIN).await;
    bridge.client().post("/take").send().await.expect(202);
    rig.consumed_by(&rig.name("work"), 1).await;
}

/// Of several URLs, the next is tried when one does not answer, also later on.
#[tokio::test]
async fn several_brokers_are_tried_in_turn() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let (first, second) = (
        Proxy::start(&address_of(rig.url())).await,
        Proxy::start(&address_of(rig.url())).await,
    );
    let nobody = with_address(rig.url(), &format!("127.0.0.1:{}", free_port()));
    let urls = [
        nobody,
        with_address(rig.url(), &first.address()),
        with_address(rig.url(), &second.address()),
    ];
    let base = format!("urls: [\"{}\", \"{}\", \"{}\"]", urls[0], urls[1], urls[2]);
    let yaml = three_flows(&backend).replace("amqp: {", &format!("amqp: {{ {base},"));
    let bridge = rig.bridge(&yaml).await;
    bridge.client().post("/take").send().await.expect(202);
    first.set(|weather| weather.refuse = true);
    first.cut();
    eventually(BACK_AGAIN, "taken through the second", async || {
        let reply = bridge.client().post("/take").send_plain().await;
        must(reply.status == 202, || reply.text())
    })
    .await;
    bridge.ready(BACK_AGAIN).await;
    rig.consumed_by(&rig.name("work"), 1).await;
}

/// A connection on which nothing passes any more is given up by its heartbeat, and a new one made.
#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let yaml =
        three_flows(&backend).replace("amqp: {", "amqp: { heartbeat: 2s, connect_timeout: 2s,");
    let bridge = rig.bridge_with(&yaml, through(&rig, &proxy)).await;
    proxy.stall();
    bridge.not_ready(Duration::from_secs(30)).await;
    proxy.resume();
    bridge.ready(BACK_AGAIN).await;
    bridge.client().post("/take").send().await.expect(202);
    rig.consumed_by(&rig.name("work"), 1).await;
}

/// A connection that the broker's side ends while ours stays open is replaced, too.
#[tokio::test]
async fn a_half_closed_connection_is_replaced() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let bridge = rig
        .bridge_with(&three_flows(&backend), through(&rig, &proxy))
        .await;
    let before = bridge.metric("hareway_broker_sessions_total", &[]).await;
    proxy.half_close();
    eventually(SOON, "new connections", async || {
        let now = bridge.metric("hareway_broker_sessions_total", &[]).await;
        must(now >= before + 2.0, || format!("{before} then {now}"))
    })
    .await;
    bridge.ready(BACK_AGAIN).await;
    bridge.client().post("/take").send().await.expect(202);
    rig.consumed_by(&rig.name("work"), 1).await;
}

/// A queue that somebody deletes under its consumer comes back, and is consumed again.
#[tokio::test]
async fn a_deleted_queue_comes_back() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let _bridge = rig.bridge(&three_flows(&backend)).await;
    let work = rig.name("work");
    rig.consumed_by(&work, 1).await;
    rig.amqp().delete_queue(&work).await;
    rig.consumed_by(&work, 1).await;
    rig.amqp().send(&work, with_id("m-1"), b"").await;
    backend.wait_for(1, SOON).await;
    rig.consumed_by(&rig.name("more"), 1).await;
}

/// An exchange or a queue that nobody consumes tells no one when somebody deletes it: callers hear
/// 502 until the first of them has made the bridge look, and then it is back.
#[tokio::test]
async fn what_is_published_to_comes_back() {
    let rig = Rig::new().await;
    let yaml = r#"
exchanges:
  PFX-x: { type: topic }
queues:
  PFX-bound: { type: classic, bind: { PFX-x: "order.#" } }
  PFX-plain: { type: classic }
routes:
  PFX-by-exchange:
    from: { http: "POST /exchange" }
    to: { amqp: { exchange: PFX-x, routing_key: order.placed } }
  PFX-by-queue:
    from: { http: "POST /queue" }
    to: { amqp: PFX-plain }
"#;
    let bridge = rig.bridge(yaml).await;
    let channel = rig.amqp().channel().await;
    let exchange = rig.name("x");
    let deleted = channel.exchange_delete(exchange.as_str().into(), Default::default());
    deleted.await.expect("deleted");
    rig.amqp().delete_queue(&rig.name("plain")).await;
    for path in ["/exchange", "/queue"] {
        eventually(SOON, "routed again", async || {
            let reply = bridge.client().post(path).send().await;
            if reply.status == 202 {
                return Ok(());
            }
            Err(reply.expect_problem(502, "unroutable").text())
        })
        .await;
    }
    rig.settles_at(&rig.name("bound"), 1).await;
    rig.settles_at(&rig.name("plain"), 1).await;
    bridge.ready(SOON).await;
}

/// A queue that is deleted while messages are published to it comes back with its consumer: those
/// messages must not bring it back without one, ten times over.
#[tokio::test]
async fn a_deleted_queue_comes_back_under_publishers() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let yaml = format!(
        r#"
exchanges:
  PFX-x: {{ type: direct }}
queues:
  PFX-work: {{ bind: {{ PFX-x: work }} }}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: {{ exchange: PFX-x, routing_key: work }} }}
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: "{}" }}
"#,
        backend.url("/")
    );
    let bridge = rig.bridge(&yaml).await;
    for round in 1..=10 {
        rig.amqp().delete_queue(&rig.name("work")).await;
        eventually(SOON, "taken again", async || {
            let reply = bridge.client().post("/take").send().await;
            must(reply.status == 202, || reply.text())
        })
        .await;
        backend.wait_for(round, SOON).await;
    }
}

/// Under `passive` nothing is created, and what is missing is named.
#[tokio::test]
async fn passive_names_what_is_missing() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let yaml = format!(
        r#"
amqp: {{ topology: passive, reconnect_max: 300ms }}
routes:
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: "{}" }}
    retry: [5s]
"#,
        backend.url("/")
    );
    let (work, name) = (rig.name("work"), rig.name("fwd"));
    let (tier, parked) = (
        retry_queue(&name, Duration::from_secs(5)),
        parked_queue(&name),
    );
    rig.queue("work").await;
    let bridge = rig.start_with(&yaml, Options::default());
    eventually(SOON, "the missing queues are named", async || {
        let log = bridge.log();
        must(log.contains(&tier) && log.contains(&parked), || log)
    })
    .await;
    assert!(rig.amqp().counts(&tier).await.is_none());
    assert!(rig.amqp().counts(&parked).await.is_none());
    rig.amqp().queue(&tier, &[]).await;
    rig.amqp().queue(&parked, &[]).await;
    // Whether it has gone on trying or given up: with everything there it runs.
    drop(bridge);
    let bridge = rig.bridge(&yaml).await;
    rig.amqp().send(&work, with_id("m-1"), b"").await;
    backend.wait_for(1, SOON).await;
    drop(bridge);
}

/// `external` things are used and never touched.
#[tokio::test]
async fn external_queues_are_never_declared() {
    let rig = Rig::new().await;
    let yaml = r#"
queues:
  PFX-theirs: { external: true }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-theirs }
"#;
    let bridge = rig.start_with(yaml, Options::default());
    let theirs = rig.name("theirs");
    eventually(SOON, "answered", async || {
        let reply = bridge.client().post("/take").attempt().await?;
        match reply.status.as_u16() {
            502 => Ok(()),
            _ => Err(reply.text()),
        }
    })
    .await;
    assert!(rig.amqp().counts(&theirs).await.is_none());
    rig.queue("theirs").await;
    bridge.client().post("/take").send().await.expect(202);
}

/// A CA in `dir`/ca.pem, and a certificate of it for `localhost`.
fn certificates(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

/// `amqps` works with a private CA, and not with another's.
#[tokio::test]
async fn amqps_trusts_the_given_ca_only() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, others) = (dir.path().join("ours"), dir.path().join("others"));
    certificates(&ours);
    certificates(&others);
    let setup = Setup {
        tls_dir: Some(ours.clone()),
        ..Setup::default()
    };
    let broker = Broker::private_with(setup).await;
    let rig = Rig::on(&broker).await;
    let options = Options {
        amqp_url: Some(broker.tls_url().await),
        ..Options::default()
    };
    let yaml = |ca: &Path| {
        format!(
            r#"
amqp: {{ ca_file: "{}", reconnect_max: 300ms }}
queues:
  PFX-in: {{}}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: PFX-in }}
"#,
            ca.join("ca.pem").display()
        )
    };
    let stranger = rig.start_with(&yaml(&others), options.clone());
    eventually(SOON, "the certificate is refused", async || {
        let log = stranger.log();
        must(log.to_lowercase().contains("certificate"), || log)
    })
    .await;
    stranger.not_ready(SOON).await;
    let bridge = rig.bridge_with(&yaml(&ours), options).await;
    bridge.client().post("/take").send().await.expect(202);
    rig.settles_at(&rig.name("in"), 1).await;
}
