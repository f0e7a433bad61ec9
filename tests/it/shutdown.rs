//! Shutdown: what has begun is finished, the rest is given back, and nothing accepted is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::support::{
    Answer, Backend, Bridge, Proxy, Rig, SOON, Worker,
    amqp::with_id,
    bridge::Options,
    broker::{address_of, with_address},
    eventually, must,
    worker::reply,
};

/// Messages that wait for the backend when the load begins.
const WORK: usize = 1_000;

/// A call as its client saw it.
#[derive(Debug)]
struct Seen {
    id: String,
    begun: Instant,
    /// Status and body, or what came instead.
    answer: Result<(u16, String), String>,
}

/// Calls one after the other, a connection each, until one fails to be answered.
async fn load(
    bridge: Arc<Bridge>,
    path: &'static str,
    name: String,
    answered: Arc<AtomicUsize>,
) -> Vec<Seen> {
    let mut all = Vec::new();
    for number in 0.. {
        let id = format!("{name}-{number}");
        let client = bridge.client();
        let call = client
            .post(path)
            .header("message-id", &id)
            .header("connection", "close")
            .body(id.clone());
        let begun = Instant::now();
        let answer = call
            .attempt()
            .await
            .map(|reply| (reply.status.as_u16(), reply.text()));
        let over = answer.is_err();
        answered.fetch_add(usize::from(!over), Ordering::Relaxed);
        all.push(Seen { id, begun, answer });
        if over {
            break;
        }
    }
    all
}

/// SIGTERM under load on all three flows: every call that had begun is answered, every 202 is in
/// the broker, every message is delivered or still in its queue and none both lost and
/// acknowledged, and the process ends with 0 within its drain time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_nothing() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::ok().after(Duration::from_millis(50)));
    let yaml = format!(
        r#"
drain_timeout: 20s
queues:
  PFX-in: {{ type: classic }}
  PFX-ask: {{ type: classic }}
  PFX-work: {{ type: classic }}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: PFX-in }}
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: "{}" }}
  PFX-call:
    from: {{ http: "POST /call" }}
    to: {{ amqp: PFX-ask }}
    reply: {{ timeout: 10s }}
"#,
        backend.url("/")
    );
    let bridge = Arc::new(rig.bridge(&yaml).await);
    let _worker = Worker::start(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, request.body.clone())]
    })
    .await;
    let work = rig.name("work");
    let messages = (0..WORK).map(|number| (with_id(&format!("w-{number}")), Vec::new()));
    rig.amqp().publish_all("", &work, messages).await;

    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..24 {
        let path = if number % 3 == 0 { "/call" } else { "/take" };
        clients.spawn(load(
            bridge.clone(),
            path,
            format!("{}-{number}", &path[1..]),
            answered.clone(),
        ));
    }
    eventually(Duration::from_secs(60), "under load", async || {
        let count = answered.load(Ordering::Relaxed);
        must(count > 500 && backend.count() > 50, || count.to_string())
    })
    .await;
    let signalled = Instant::now();
    bridge.signal("TERM");
    let status = bridge.exit(Duration::from_secs(22)).await;
    assert_eq!(status.code(), Some(0), "{}", bridge.log());

    let calls = clients
        .join_all()
        .await
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    let mut accepted = BTreeSet::new();
    for call in &calls {
        match &call.answer {
            Ok((202, _)) => {
                accepted.insert(call.id.clone());
            }
            Ok((200, body)) => assert_eq!(*body, call.id, "somebody else's reply"),
            // Too late for the drain, and told so.
            Ok((503, _)) if call.begun >= signalled => {}
            Err(_) if call.begun >= signalled => {}
            _ => panic!(
                "begun {:?} before the signal: {call:?}",
                signalled - call.begun
            ),
        }
    }
    let found: BTreeSet<String> = rig
        .amqp()
        .drain_many(&rig.name("in"))
        .await
        .iter()
        .map(|got| got.message_id().to_owned())
        .collect();
    let lost: Vec<_> = accepted.difference(&found).collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        accepted.len()
    );

    let delivered: BTreeSet<String> = backend
        .requests()
        .iter()
        .map(|request| request.header("message-id").to_owned())
        .collect();
    let left: BTreeSet<String> = rig
        .amqp()
        .drain_many(&work)
        .await
        .iter()
        .map(|got| got.message_id().to_owned())
        .collect();
    assert!(
        !left.is_empty(),
        "the signal came too late to show anything"
    );
    assert_eq!(
        delivered.len() + left.len(),
        WORK,
        "each delivered or still there, none both"
    );
    assert!(delivered.is_disjoint(&left));
    assert_eq!(backend.count(), delivered.len());
}

/// A bridge with one call at a backend that hangs, and the drain time given.
async fn hanging(rig: &Rig, backend: &Backend, drain: &str) -> Bridge {
    backend.otherwise(Answer::hang());
    let yaml = format!(
        r#"
drain_timeout: {drain}
routes:
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: {{ url: "{}", timeout: 10m }} }}
"#,
        backend.url("/")
    );
    let bridge = rig.bridge(&yaml).await;
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"")
        .await;
    backend.wait_for(1, SOON).await;
    bridge
}

/// A second signal ends it at once, and the log says what was left.
#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let bridge = hanging(&rig, &backend, "5m").await;
    bridge.signal("TERM");
    let before = eventually(SOON, "it says that it stops", async || {
        let log = bridge.log();
        must(
            log.to_lowercase().contains("shut") || log.to_lowercase().contains("drain"),
            || log.clone(),
        )?;
        Ok(log.len())
    })
    .await;
    assert!(bridge.exited().is_none(), "it waits for the call");
    bridge.signal("TERM");
    let begun = Instant::now();
    let status = bridge.exit(SOON).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_ne!(status.code(), Some(0), "not everything was finished");
    eventually(SOON, "it says what was left", async || {
        let log = bridge.log();
        must(log.len() > before, || log)
    })
    .await;
    rig.settles_at(&rig.name("work"), 1).await;
}

/// What is not finished within the drain time is given back, and the process ends.
#[tokio::test]
async fn the_drain_time_is_a_limit() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let bridge = hanging(&rig, &backend, "1s").await;
    let begun = Instant::now();
    bridge.signal("TERM");
    bridge.exit(SOON).await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(6),
        "{took:?}"
    );
    rig.settles_at(&rig.name("work"), 1).await;
}

/// A held call is finished within the drain time, while new connections find nobody.
#[tokio::test]
async fn a_held_call_is_finished() {
    let rig = Rig::new().await;
    let yaml = r#"
drain_timeout: 20s
queues:
  PFX-ask: {}
routes:
  PFX-call:
    from: { http: "POST /call" }
    to: { amqp: PFX-ask }
    reply: { timeout: 15s }
"#;
    let bridge = rig.bridge(yaml).await;
    let worker = Worker::start_paused(rig.url(), &rig.name("ask"), |request| {
        vec![reply(request, "held")]
    })
    .await;
    let client = bridge.client();
    let held: Arc<Mutex<Option<u16>>> = Arc::default();
    let call = {
        let held = held.clone();
        tokio::spawn(async move {
            let reply = client.post("/call").send().await.expect(200);
            held.lock().unwrap().replace(reply.status.as_u16());
            reply.text()
        })
    };
    bridge.metric_is("hareway_waiting_replies", &[], 1.0).await;
    bridge.signal("TERM");
    eventually(SOON, "new connections are refused", async || {
        match bridge.client().get("/none").attempt().await {
            Err(_) => Ok(()),
            Ok(reply) => Err(reply.text()),
        }
    })
    .await;
    assert!(held.lock().unwrap().is_none());
    worker.go();
    assert_eq!(call.await.unwrap(), "held");
    assert_eq!(bridge.exit(SOON).await.code(), Some(0));
}

/// A second instance on the same port says so in one line and never starts half.
#[tokio::test]
async fn a_taken_port_is_said_in_one_line() {
    let rig = Rig::new().await;
    let yaml = r#"
queues:
  PFX-in: {}
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-in }
"#;
    let first = rig.bridge(yaml).await;
    let options = Options {
        http_port: Some(first.http().port()),
        ..Options::default()
    };
    let second = rig.start_with(yaml, options);
    let status = second.exit(SOON).await;
    assert_eq!(status.code(), Some(1));
    let address = first.http().to_string();
    eventually(SOON, "it says why", async || {
        let log = second.log();
        must(log.contains(&address), || log)
    })
    .await;
    let log = second.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    first.client().post("/take").send().await.expect(202);
}

/// A broker that is away, or silent, does not keep the process from ending.
#[tokio::test]
async fn it_ends_without_its_broker() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    for silent in [false, true] {
        let proxy = Proxy::start(&address_of(rig.url())).await;
        let options = Options {
            amqp_url: Some(with_address(rig.url(), &proxy.address())),
            ..Options::default()
        };
        let yaml = format!(
            "drain_timeout: 30s\nroutes:\n  PFX-fwd:\n    from: {{ amqp: PFX-work }}\n    to: {{ http: \"{}\" }}\n",
            backend.url("/")
        );
        let bridge = rig.bridge_with(&yaml, options).await;
        if silent {
            proxy.stall();
        } else {
            proxy.set(|weather| weather.refuse = true);
            proxy.cut();
            bridge.not_ready(SOON).await;
        }
        bridge.signal("TERM");
        bridge.exit(Duration::from_secs(25)).await;
    }
}

/// SIGINT is as good as SIGTERM.
#[tokio::test]
async fn ctrl_c_is_a_shutdown() {
    let rig = Rig::new().await;
    let bridge = rig.bridge("queues: { PFX-in: {} }\nroutes:\n  PFX-take:\n    from: { http: POST /take }\n    to: { amqp: PFX-in }\n").await;
    bridge.signal("INT");
    assert_eq!(bridge.exit(SOON).await.code(), Some(0));
}
