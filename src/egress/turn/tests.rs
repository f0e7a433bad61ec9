use http::StatusCode;
use lapin::types::AMQPValue;

use super::super::{
    client::CallError,
    testing::{Backend, Rig, Seen, circuit, message, nobody, route, short},
};
use super::*;
use crate::{
    amqp::{Outcome, testing},
    message::{Message, field},
    policy::patience::HOLD,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn named(id: &str) -> Message {
    let mut message = message(b"");
    message.properties = message.properties.with_message_id(short(id));
    message
}

fn asking() -> Message {
    let mut message = message(b"what?");
    message.properties = message.properties.with_reply_to(short("answers"));
    message
}

fn text(publish: &crate::message::Publish, name: &str) -> Option<String> {
    let table = publish.properties.headers().as_ref()?;
    field::plain(table.inner().get(name)?).map(std::borrow::Cow::into_owned)
}

fn id(call: &Seen) -> String {
    call.header("message-id").unwrap().to_owned()
}

/// Waits until so many messages are called for, or wait for their calls.
async fn in_hand(rig: &Rig, count: u64) {
    while rig.metric("hareway_in_flight{route=\"fulfil\"} ") != count {
        tokio::task::yield_now().await;
    }
}

/// Fails so many messages that the circuit opens; each failure is an ordinary one.
async fn open(rig: &mut Rig, backend: &mut Backend, failures: u32) {
    for _ in 0..failures {
        assert!(rig.circuit.as_ref().unwrap().paused().is_none());
        rig.queue.deliver(message(b"")).await;
        backend.call().await.status(503);
        let taken = rig.broker.take().await;
        let to = taken.publish().routing_key.as_str();
        assert_eq!(to, "hareway.retry.fulfil.1s");
        assert_eq!(
            text(taken.publish(), "hareway-attempt").as_deref(),
            Some("1")
        );
        taken.end(Outcome::Routed);
        assert!(rig.queue.verdict().await.1);
    }
    assert!(rig.circuit.as_ref().unwrap().paused().is_some());
}

/// While the backend is down its messages wait, one of them tries it now and then, and none of
/// these tries is an attempt.
#[tokio::test]
async fn an_open_circuit_spends_no_attempt() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.circuit = circuit(2);
    let mut rig = Rig::start(deliver);
    let gauge = "hareway_circuit_open{route=\"fulfil\"} ";
    assert_eq!(rig.metric(gauge), 0);
    open(&mut rig, &mut backend, 2).await;
    assert_eq!(rig.metric(gauge), 1);

    let tag = rig.queue.deliver(named("waits")).await;
    for _ in 0..2 {
        let probe = backend.call().await;
        assert_eq!(id(&probe), "waits");
        assert_eq!(probe.header("hareway-attempt"), Some("1"));
        let paused = rig.circuit.as_ref().unwrap().paused().unwrap().to_string();
        assert_eq!(paused, "circuit half-open, a probe is under way");
        probe.status(503);
    }
    let probe = backend.call().await;
    assert_eq!(probe.header("hareway-attempt"), Some("1"));
    assert!(rig.broker.is_idle() && rig.queue.is_quiet());
    probe.status(200);
    assert_eq!(rig.queue.verdict().await, (tag, true));
    assert_eq!(rig.metric(gauge), 0);
    assert!(rig.circuit.as_ref().unwrap().paused().is_none());
}

/// The first in line tries, and goes to the end when it fails: a message that always fails does not
/// speak for all.
#[tokio::test]
async fn a_probe_that_fails_goes_to_the_end_of_the_line() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.circuit = circuit(1);
    deliver.source.concurrency = 3;
    let mut rig = Rig::start(deliver);
    open(&mut rig, &mut backend, 1).await;
    let bad = rig.queue.deliver(named("bad")).await;
    let probe = backend.call().await;
    assert_eq!(id(&probe), "bad");
    for name in ["b", "c"] {
        rig.queue.deliver(named(name)).await;
    }
    // Both stand in line before the one that tries comes back to it.
    in_hand(&rig, 3).await;
    probe.status(503);
    let second = backend.call().await;
    assert_ne!(id(&second), "bad");
    assert!(backend.is_idle());
    second.status(200);
    assert!(rig.queue.verdict().await.1);
    // The circuit is closed, and its failure is the message's own again.
    for _ in 0..2 {
        let call = backend.call().await;
        let status = if id(&call) == "bad" { 503 } else { 200 };
        call.status(status);
    }
    let taken = rig.broker.take().await;
    assert_eq!(
        text(taken.publish(), "hareway-attempt").as_deref(),
        Some("1")
    );
    taken.end(Outcome::Routed);
    let verdicts = [rig.queue.verdict().await, rig.queue.verdict().await];
    assert!(verdicts.contains(&(bad, true)), "{verdicts:?}");
}

/// Alone in its place a message makes room for those behind it, as a copy with nothing counted.
#[tokio::test]
async fn after_some_probes_a_message_is_put_back() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.circuit = circuit(1);
    let mut rig = Rig::start(deliver);
    open(&mut rig, &mut backend, 1).await;
    let mut message = named("bad");
    let mut table = message.properties.headers().clone().unwrap();
    table.insert(short("hareway-attempt"), AMQPValue::LongLongInt(1));
    table.insert(short("hareway-status"), AMQPValue::LongInt(500));
    let properties = message.properties.with_headers(table);
    message.properties = properties.with_expiration(short("60000"));
    let tag = rig.queue.deliver(message).await;
    rig.queue.deliver(named("good")).await;
    for _ in 0..3 {
        let probe = backend.call().await;
        assert_eq!(id(&probe), "bad");
        assert_eq!(probe.header("hareway-attempt"), Some("2"));
        probe.status(503);
    }
    let taken = rig.broker.take().await;
    let publish = taken.publish();
    assert_eq!(publish.exchange.as_str(), "");
    assert_eq!(publish.routing_key.as_str(), "work");
    assert_eq!(publish.properties.message_id(), &Some(short("bad")));
    for (name, value) in [
        ("x-tenant", "acme"),
        ("hareway-attempt", "1"),
        ("hareway-status", "500"),
        ("hareway-expiration", "60000"),
        ("hareway-exchange", "orders"),
        ("hareway-routing-key", "order.placed"),
    ] {
        assert_eq!(text(publish, name).as_deref(), Some(value), "{name}");
    }
    assert!(rig.queue.is_quiet(), "not before the copy is safe");
    taken.end(Outcome::Routed);
    assert_eq!(rig.queue.verdict().await, (tag, true));
    let probe = backend.call().await;
    assert_eq!(id(&probe), "good");
    probe.status(200);
    rig.queue.verdict().await;
    assert_eq!(rig.counted("returned"), 1);
}

/// Longer than a while nothing is held, nor what waits behind it.
#[tokio::test(start_paused = true)]
async fn what_is_held_for_too_long_is_put_back() {
    let mut deliver = route(&nobody().await);
    deliver.circuit = circuit(1);
    let circuit = deliver.circuit.as_mut().unwrap();
    (circuit.pause, circuit.pause_max) = (HOLD * 2, HOLD * 2);
    let mut rig = Rig::start(deliver);
    rig.queue.deliver(message(b"")).await;
    rig.broker.take().await.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);

    let begun = Instant::now();
    for name in ["waits", "behind"] {
        rig.queue.deliver(named(name)).await;
    }
    for (tag, name) in [(2, "waits"), (3, "behind")] {
        let taken = rig.broker.take().await;
        let held = begun.elapsed();
        assert!(held >= HOLD && held < HOLD + ms(1000), "{held:?}");
        let publish = taken.publish();
        assert_eq!(publish.routing_key.as_str(), "work");
        assert_eq!(publish.properties.message_id(), &Some(short(name)));
        assert_eq!(text(publish, "hareway-attempt"), None);
        taken.end(Outcome::Routed);
        assert_eq!(rig.queue.verdict().await, (tag, true));
    }
    assert_eq!(rig.counted("retried"), 1);
}

#[tokio::test]
async fn draining_gives_back_at_once_what_waits() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.circuit = circuit(1);
    let circuit = deliver.circuit.as_mut().unwrap();
    (circuit.pause, circuit.pause_max) = (HOLD, HOLD);
    let mut rig = Rig::start(deliver);
    open(&mut rig, &mut backend, 1).await;
    let tag = rig.queue.deliver(named("waits")).await;
    in_hand(&rig, 1).await;
    let paused = rig.circuit.as_ref().unwrap().paused().unwrap().to_string();
    assert!(
        paused.starts_with("circuit open, next probe in "),
        "{paused}"
    );
    rig.drain.cancel();
    assert_eq!(rig.queue.verdict().await, (tag, false));
    assert_eq!((&mut rig.done).await.unwrap(), 0, "nothing was cut");
    assert_eq!(rig.counted("requeued"), 1);
}

/// Whoever waits with a message of a dead channel waits for nothing: the broker delivers it again.
#[tokio::test]
async fn a_dead_channel_frees_a_place_in_the_line() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.circuit = circuit(1);
    let circuit = deliver.circuit.as_mut().unwrap();
    (circuit.pause, circuit.pause_max) = (ms(200), ms(200));
    let mut rig = Rig::start(deliver);
    open(&mut rig, &mut backend, 1).await;
    rig.queue.deliver(named("dead")).await;
    in_hand(&rig, 1).await;
    rig.queue.lose_channel();
    rig.queue.deliver(named("again")).await;
    let probe = backend.call().await;
    assert_eq!(id(&probe), "again");
    probe.status(200);
    assert!(rig.queue.verdict().await.1);
}

/// Whoever asks does not wait for a backend that is down; but may be the one that finds it up.
#[tokio::test]
async fn whoever_asks_is_told_at_once() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.circuit = circuit(1);
    let circuit = deliver.circuit.as_mut().unwrap();
    (circuit.pause, circuit.pause_max) = (HOLD, HOLD);
    let mut rig = Rig::start(deliver.clone());
    open(&mut rig, &mut backend, 1).await;
    rig.queue.deliver(asking()).await;
    let taken = rig.broker.take().await;
    let publish = taken.publish();
    assert_eq!(publish.routing_key.as_str(), "answers");
    assert_eq!(text(publish, "http-status").as_deref(), Some("503"));
    assert_eq!(text(publish, "retry-after").as_deref(), Some("720"));
    let json: serde_json::Value = serde_json::from_slice(&publish.body).unwrap();
    assert_eq!(json["type"], "urn:hareway:backend-unavailable");
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
    assert!(backend.is_idle());

    deliver.circuit = super::super::testing::circuit(1);
    let mut rig = Rig::start(deliver);
    open(&mut rig, &mut backend, 1).await;
    let paused = || rig.circuit.as_ref().unwrap().paused().unwrap().to_string();
    while paused() != "circuit open, the next message is the probe" {
        tokio::time::sleep(ms(1)).await;
    }
    rig.queue.deliver(asking()).await;
    backend.call().await.status(200);
    rig.broker.take().await.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
    assert!(rig.circuit.as_ref().unwrap().paused().is_none());
}

#[tokio::test]
async fn a_pass_that_is_dropped_leaves_its_place() {
    let gauge = prometheus::IntGauge::new("open", "Open.").unwrap();
    let settings = circuit(1).unwrap();
    let gate = Gate::new("fulfil".into(), &settings, gauge);
    let timeout = CallError::Timeout(ms(1));
    assert!(!gate.pass().await.record(Err(&timeout)));
    let probe = gate.pass().await;
    assert!(probe.is_probe());
    assert!(gate.try_pass().is_err());
    drop(probe);
    let next = gate.try_pass().unwrap();
    assert!(next.is_probe() && !next.record(Ok(StatusCode::OK)));
    assert!(!gate.pass().await.is_probe());
}

/// Only what `on` names says that the backend is down; any other answer says that it is up.
#[tokio::test]
async fn what_an_outcome_says_depends_on_the_route() {
    let only_timeouts = model_on(false, true, "504");
    let only_connects = model_on(true, false, "503");
    let connect = CallError::Connect("refused".into());
    let timeout = CallError::Timeout(ms(1));
    let broken = CallError::Broken("reset".into());
    for (on, outcome, opens) in [
        (&only_timeouts, Err(&timeout), true),
        (&only_timeouts, Err(&connect), false),
        (&only_timeouts, Ok(StatusCode::GATEWAY_TIMEOUT), true),
        (&only_timeouts, Ok(StatusCode::SERVICE_UNAVAILABLE), false),
        (&only_connects, Err(&timeout), false),
        (&only_connects, Err(&connect), true),
        (&only_connects, Err(&broken), false),
        (&only_connects, Ok(StatusCode::INTERNAL_SERVER_ERROR), false),
    ] {
        let gauge = prometheus::IntGauge::new("open", "Open.").unwrap();
        let gate = Gate::new("fulfil".into(), on, gauge);
        gate.pass().await.record(outcome);
        assert_eq!(gate.view().paused().is_some(), opens, "{outcome:?}");
    }
}

fn model_on(connect: bool, timeout: bool, statuses: &str) -> crate::config::model::Circuit {
    let mut settings = circuit(1).unwrap();
    settings.on.connect = connect;
    settings.on.timeout = timeout;
    settings.on.statuses = statuses.parse().unwrap();
    settings
}

// === Pace ===

/// A route with a pace, and a queue whose deliveries become jobs.
struct Paced {
    guards: Guards,
    queue: testing::Queue,
    deliveries: tokio::sync::mpsc::Receiver<crate::amqp::Delivery>,
}

impl Paced {
    fn new(interval: Duration, burst: u32) -> Self {
        let mut deliver = route("http://127.0.0.1:1/");
        deliver.limits.rate = Some(Rate { interval, burst });
        let (queue, deliveries) = testing::queue(64);
        let guards = Guards::new(&deliver, None);
        Self {
            guards,
            queue,
            deliveries,
        }
    }

    async fn job(&mut self) -> Job {
        self.queue.deliver(message(b"")).await;
        let delivery = self.deliveries.recv().await.unwrap();
        Job {
            message: delivery.message,
            id: short("m-1"),
            settle: delivery.settle,
            received: delivery.received,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_keep_an_even_pace_in_their_order() {
    let mut paced = Paced::new(ms(100), 2);
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(paced.job().await);
    }
    let (begun, never) = (Instant::now(), CancellationToken::new());
    let turns = jobs.iter().map(async |job| {
        assert!(matches!(paced.guards.turn(job, &never).await, Ok(None)));
        begun.elapsed()
    });
    let at = futures_util::future::join_all(turns).await;
    assert_eq!(at, [ms(0), ms(0), ms(100), ms(200), ms(300)]);
}

/// Neither who gives up nor who is too late takes a share that another could have.
#[tokio::test(start_paused = true)]
async fn who_leaves_leaves_no_hole_in_the_pace() {
    let mut paced = Paced::new(HOLD / 2, 1);
    let begun = Instant::now();
    let never = CancellationToken::new();
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(paced.job().await);
    }
    let drained = CancellationToken::new();
    drained.cancel();
    let waits = async |job: &Job| {
        let turn = paced.guards.turn(job, &never).await.map(|_| ());
        (turn, begun.elapsed())
    };
    let (first, gone, second, late) = tokio::join!(
        waits(&jobs[0]),
        async { paced.guards.turn(&jobs[1], &drained).await.map(|_| ()) },
        waits(&jobs[2]),
        waits(&jobs[3]),
    );
    assert_eq!(first, (Ok(()), ms(0)));
    assert_eq!(gone, Err(Leave::Draining));
    assert_eq!(second, (Ok(()), HOLD / 2));
    assert_eq!(late, (Err(Leave::Held), HOLD));
    let next = paced.job().await;
    let turn = paced.guards.turn(&next, &never).await.map(|_| ());
    assert_eq!((turn, begun.elapsed()), (Ok(()), HOLD));
}

/// A long call leaves less time for waiting: both together must not come to the broker's limit.
#[test]
fn how_long_a_message_is_held_depends_on_its_call() {
    let mut deliver = route("http://127.0.0.1:1/");
    assert_eq!(Guards::new(&deliver, None).hold, HOLD);
    deliver.target.timeout = Duration::from_secs(28 * 60);
    assert_eq!(Guards::new(&deliver, None).hold, Duration::from_secs(60));
}
