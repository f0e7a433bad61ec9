use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response};
use http_body_util::Full;
use lapin::types::AMQPValue;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

use super::testing::{Backend, Rig, message, nobody, route, short};
use crate::{
    amqp::Outcome,
    config::model::{Park, UrlTarget},
    message::Message,
    template::{Part, Source, Template},
};

fn text(publish: &crate::message::Publish, name: &str) -> Option<String> {
    let table = publish.properties.headers().as_ref()?;
    let value = table.inner().get(name)?;
    crate::message::field::plain(value).map(std::borrow::Cow::into_owned)
}

/// A URL that no message without the path parameter `x` can fill.
fn unfillable() -> UrlTarget {
    UrlTarget::Exact(Template::from_parts(vec![
        Part::Literal("http://127.0.0.1:1/".into()),
        Part::Value {
            source: Source::Path("x".into()),
            verbatim: false,
            fallback: None,
        },
    ]))
}

fn asking() -> Message {
    let mut message = message(b"what?");
    message.properties = message
        .properties
        .with_reply_to(short("answers"))
        .with_correlation_id(short("c-1"));
    message
}

#[tokio::test]
async fn a_message_is_acknowledged_after_success_and_not_before() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    let tag = rig.queue.deliver(message(b"\x00\xff binary")).await;
    let call = backend.call().await;
    assert_eq!(call.request.method(), "POST");
    assert_eq!(call.request.uri(), "/orders");
    assert_eq!(call.request.body().as_ref(), b"\x00\xff binary");
    for (name, value) in [
        ("message-id", "m-1"),
        ("idempotency-key", "m-1"),
        ("x-tenant", "acme"),
        ("hareway-attempt", "1"),
        ("hareway-queue", "work"),
    ] {
        assert_eq!(call.header(name), Some(value), "{name}");
    }
    assert!(rig.queue.is_quiet());
    call.status(204);
    assert_eq!(rig.queue.verdict().await, (tag, true));
    rig.drain.cancel();
    rig.done.await.unwrap();
}

/// The whole call may take 20 s here: the verdict comes before the body could have ended.
#[tokio::test]
async fn a_success_need_not_wait_for_its_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut rig = Rig::start(route(&url));
    let tag = rig.queue.deliver(message(b"")).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    stream.write_all(head).await.unwrap();
    let verdict = timeout(Duration::from_secs(10), rig.queue.verdict()).await;
    assert_eq!(verdict.unwrap(), (tag, true));
    rig.abort.cancel();
    assert_eq!((&mut rig.done).await.unwrap(), 0, "nothing was cut");
    assert_eq!(rig.counted("delivered"), 1);
    assert_eq!(rig.counted("requeued"), 0);
}

#[tokio::test]
async fn a_failed_message_stays_in_its_queue_until_its_copy_is_confirmed() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    let tag = rig.queue.deliver(message(b"body")).await;
    backend.call().await.status(503);
    for outcome in [Outcome::Nacked, Outcome::Unroutable, Outcome::Unknown] {
        let taken = rig.broker.take().await;
        assert_eq!(
            taken.publish().routing_key.as_str(),
            "hareway.retry.fulfil.1s"
        );
        assert_eq!(taken.publish().exchange.as_str(), "");
        taken.end(outcome);
    }
    let taken = rig.broker.take().await;
    assert!(rig.queue.is_quiet());
    let publish = taken.publish();
    assert_eq!(publish.body.as_ref(), b"body");
    assert_eq!(publish.properties.message_id(), &Some(short("m-1")));
    assert_eq!(text(publish, "hareway-attempt").as_deref(), Some("1"));
    assert_eq!(
        text(publish, "hareway-last-error").as_deref(),
        Some("status 503")
    );
    taken.end(Outcome::Routed);
    assert_eq!(rig.queue.verdict().await, (tag, true));
    settled(&mut rig).await;
    assert_eq!(rig.counted("retried"), 1);
}

/// Lets the task that settled a message finish counting.
async fn settled(rig: &mut Rig) -> bool {
    rig.drain.cancel();
    (&mut rig.done).await.unwrap();
    true
}

#[tokio::test]
async fn retry_after_chooses_a_longer_tier() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    rig.queue.deliver(message(b"")).await;
    let response = Response::builder()
        .status(429)
        .header("retry-after", "2")
        .body(Full::default())
        .unwrap();
    backend.call().await.respond(response);
    let taken = rig.broker.take().await;
    assert_eq!(
        taken.publish().routing_key.as_str(),
        "hareway.retry.fulfil.1m"
    );
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
}

#[tokio::test]
async fn a_status_that_no_retry_would_change_parks_with_its_reason() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    rig.queue.deliver(message(b"")).await;
    backend.call().await.status(422);
    let taken = rig.broker.take().await;
    let publish = taken.publish();
    assert_eq!(publish.routing_key.as_str(), "parked");
    assert_eq!(text(publish, "hareway-reason").as_deref(), Some("rejected"));
    assert_eq!(text(publish, "hareway-status").as_deref(), Some("422"));
    assert!(text(publish, "hareway-parked-at").is_some());
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
    settled(&mut rig).await;
    assert_eq!(rig.counted("parked"), 1);
}

#[tokio::test]
async fn a_message_that_makes_no_request_is_parked_without_a_call() {
    let mut deliver = route("http://127.0.0.1:1/");
    deliver.target.url = unfillable();
    let mut rig = Rig::start(deliver);
    rig.queue.deliver(message(b"")).await;
    let taken = rig.broker.take().await;
    assert_eq!(taken.publish().routing_key.as_str(), "parked");
    assert_eq!(
        text(taken.publish(), "hareway-reason").as_deref(),
        Some("unforwardable")
    );
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
}

#[tokio::test]
async fn a_backend_that_is_away_or_silent_is_tried_again() {
    let mut rig = Rig::start(route(&nobody().await));
    rig.queue.deliver(message(b"")).await;
    let taken = rig.broker.take().await;
    assert_eq!(
        taken.publish().routing_key.as_str(),
        "hareway.retry.fulfil.1s"
    );
    let error = text(taken.publish(), "hareway-last-error").unwrap();
    assert!(error.starts_with("cannot connect: "), "{error}");
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);

    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.target.timeout = Duration::from_millis(50);
    let mut rig = Rig::start(deliver);
    rig.queue.deliver(message(b"")).await;
    let silent = backend.call().await;
    let taken = rig.broker.take().await;
    let error = text(taken.publish(), "hareway-last-error");
    assert_eq!(error.as_deref(), Some("no answer within 50ms"));
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
    drop(silent);
}

#[tokio::test]
async fn the_last_attempt_parks() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    let mut last = message(b"");
    let mut table = last.properties.headers().clone().unwrap();
    table.insert(short("hareway-attempt"), AMQPValue::LongLongInt(2));
    last.properties = last.properties.with_headers(table);
    rig.queue.deliver(last).await;
    let call = backend.call().await;
    assert_eq!(call.header("hareway-attempt"), Some("3"));
    call.status(500);
    let taken = rig.broker.take().await;
    assert_eq!(taken.publish().routing_key.as_str(), "parked");
    assert_eq!(
        text(taken.publish(), "hareway-reason").as_deref(),
        Some("exhausted")
    );
    assert_eq!(
        text(taken.publish(), "hareway-attempt").as_deref(),
        Some("3")
    );
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
}

#[tokio::test]
async fn a_dead_channel_frees_the_place_without_a_verdict() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    rig.queue.deliver(message(b"first")).await;
    backend.call().await.status(503);
    let taken = rig.broker.take().await;
    rig.queue.lose_channel();
    taken.end(Outcome::Nacked);
    rig.queue.deliver(message(b"second")).await;
    let call = backend.call().await;
    assert_eq!(call.request.body().as_ref(), b"second");
    call.status(200);
    assert_eq!(rig.queue.verdict().await, (2, true));
    assert!(rig.broker.is_idle());
}

#[tokio::test]
async fn a_delivery_of_a_dead_channel_is_not_forwarded() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    rig.queue.deliver(message(b"busy")).await;
    let busy = backend.call().await;
    rig.queue.deliver(message(b"dead")).await;
    rig.queue.lose_channel();
    rig.queue.deliver(message(b"alive")).await;
    busy.status(200);
    let call = backend.call().await;
    assert_eq!(call.request.body().as_ref(), b"alive");
    call.status(200);
    assert_eq!(rig.queue.verdict().await, (3, true));
}

#[tokio::test(start_paused = true)]
async fn without_parking_messages_are_dropped_or_requeued_after_a_pause() {
    let mut deliver = route("http://127.0.0.1:1/");
    deliver.target.url = unfillable();
    deliver.failure.park = Park::Drop;
    let mut rig = Rig::start(deliver.clone());
    let tag = rig.queue.deliver(message(b"")).await;
    assert_eq!(rig.queue.verdict().await, (tag, true));
    settled(&mut rig).await;
    assert_eq!(rig.counted("dropped"), 1);

    deliver.failure.park = Park::Requeue;
    let mut rig = Rig::start(deliver);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let begun = tokio::time::Instant::now();
        let tag = rig.queue.deliver(message(b"")).await;
        assert_eq!(rig.queue.verdict().await, (tag, false));
        pauses.push(begun.elapsed());
    }
    assert!(pauses[0] >= Duration::from_millis(500), "{pauses:?}");
    assert!(pauses[7] >= Duration::from_secs(15), "{pauses:?}");
    assert!(pauses[7] <= Duration::from_secs(31), "{pauses:?}");
}

#[tokio::test]
async fn no_more_calls_at_once_than_the_route_allows() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.source.concurrency = 2;
    let mut rig = Rig::start(deliver);
    for _ in 0..4 {
        rig.queue.deliver(message(b"")).await;
    }
    let (first, second) = (backend.call().await, backend.call().await);
    // Settling one makes room for exactly one.
    first.status(200);
    rig.queue.verdict().await;
    let third = backend.call().await;
    assert!(backend.is_idle());
    for call in [second, third] {
        call.status(200);
        rig.queue.verdict().await;
    }
    backend.call().await.status(200);
    rig.queue.verdict().await;
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_gives_back_the_rest() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    let under_way = rig.queue.deliver(message(b"1")).await;
    let call = backend.call().await;
    let waiting = rig.queue.deliver(message(b"2")).await;
    rig.drain.cancel();
    assert_eq!(rig.queue.verdict().await, (waiting, false));
    assert!(!rig.done.is_finished());
    call.status(200);
    assert_eq!(rig.queue.verdict().await, (under_way, true));
    rig.done.await.unwrap();
}

#[tokio::test]
async fn aborting_gives_back_everything() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    let tag = rig.queue.deliver(message(b"1")).await;
    let call = backend.call().await;
    rig.abort.cancel();
    assert_eq!(rig.queue.verdict().await, (tag, false));
    assert_eq!((&mut rig.done).await.unwrap(), 1, "it says what it cut");
    assert_eq!(rig.counted("requeued"), 1);
    drop(call);
}

// === Replies ===

#[tokio::test]
async fn whoever_asks_is_answered_whatever_the_status() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    let tag = rig.queue.deliver(asking()).await;
    let response = Response::builder()
        .status(503)
        .header("content-type", "text/plain")
        .header("x-answer", "yes")
        .header("set-cookie", "secret=1")
        .body(Full::new(Bytes::from_static(b"\xffno")))
        .unwrap();
    backend.call().await.respond(response);
    let taken = rig.broker.take().await;
    let publish = taken.publish();
    assert_eq!(publish.exchange.as_str(), "");
    assert_eq!(publish.routing_key.as_str(), "answers");
    assert_eq!(publish.body.as_ref(), b"\xffno");
    assert_eq!(publish.properties.correlation_id(), &Some(short("c-1")));
    assert_eq!(
        publish.properties.content_type(),
        &Some(short("text/plain"))
    );
    assert_eq!(text(publish, "http-status").as_deref(), Some("503"));
    assert_eq!(text(publish, "x-answer").as_deref(), Some("yes"));
    assert_eq!(text(publish, "set-cookie"), None);
    assert!(rig.queue.is_quiet());
    taken.end(Outcome::Nacked);
    rig.broker.take().await.end(Outcome::Routed);
    assert_eq!(rig.queue.verdict().await, (tag, true));
    settled(&mut rig).await;
    assert_eq!(rig.counted("replied"), 1);
}

#[tokio::test]
async fn whoever_asks_a_backend_that_is_away_is_told_so() {
    let mut rig = Rig::start(route(&nobody().await));
    rig.queue.deliver(asking()).await;
    let taken = rig.broker.take().await;
    problem(taken.publish(), "502", "urn:hareway:backend-unavailable");
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);

    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    deliver.target.timeout = Duration::from_millis(50);
    let mut rig = Rig::start(deliver);
    rig.queue.deliver(asking()).await;
    let silent = backend.call().await;
    let taken = rig.broker.take().await;
    problem(taken.publish(), "504", "urn:hareway:backend-timeout");
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
    drop(silent);
}

#[tokio::test]
async fn a_response_that_is_too_large_is_success_unless_somebody_wants_it() {
    let large = || Response::new(Full::new(Bytes::from(vec![b'x'; 2000])));
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    rig.queue.deliver(message(b"")).await;
    backend.call().await.respond(large());
    assert_eq!(rig.queue.verdict().await, (1, true));
    assert!(rig.broker.is_idle());

    rig.queue.deliver(asking()).await;
    backend.call().await.respond(large());
    let taken = rig.broker.take().await;
    problem(taken.publish(), "502", "urn:hareway:backend-unavailable");
    taken.end(Outcome::Routed);
    assert_eq!(rig.queue.verdict().await, (2, true));
}

#[tokio::test]
async fn a_reply_that_nobody_waits_for_is_dropped() {
    let mut backend = Backend::start().await;
    let mut deliver = route(&backend.url());
    let tenant = HeaderName::from_static("x-tenant");
    deliver.reply_headers.set = vec![(tenant, Template::literal("set"))];
    let mut rig = Rig::start(deliver);
    rig.queue.deliver(asking()).await;
    backend.call().await.status(200);
    let taken = rig.broker.take().await;
    assert_eq!(text(taken.publish(), "x-tenant").as_deref(), Some("set"));
    taken.end(Outcome::Unroutable);
    assert!(rig.queue.verdict().await.1);
    settled(&mut rig).await;
    assert_eq!(rig.counted("dropped"), 1);
}

#[tokio::test]
async fn a_reply_larger_than_the_broker_allows_becomes_a_problem() {
    let mut backend = Backend::start().await;
    let mut rig = Rig::start(route(&backend.url()));
    rig.queue.deliver(asking()).await;
    backend.call().await.status(200);
    rig.broker.take().await.end(Outcome::TooLarge);
    let taken = rig.broker.take().await;
    problem(taken.publish(), "502", "urn:hareway:backend-unavailable");
    taken.end(Outcome::Routed);
    assert!(rig.queue.verdict().await.1);
}

fn problem(publish: &crate::message::Publish, status: &str, kind: &str) {
    assert_eq!(publish.routing_key.as_str(), "answers");
    assert_eq!(publish.properties.correlation_id(), &Some(short("c-1")));
    assert_eq!(text(publish, "http-status").as_deref(), Some(status));
    let json: serde_json::Value = serde_json::from_slice(&publish.body).unwrap();
    assert_eq!(json["type"], kind);
    assert_eq!(json["status"].to_string(), status);
}
