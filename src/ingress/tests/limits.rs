//! Calls beyond a route's limits: 429, decided from the head.

use std::time::Duration;

use super::{Bridge, accepted, inbound, post, route};
use crate::{
    amqp::Outcome,
    config::model::{Inbound, Limits, Rate},
};

fn limited(concurrency: Option<usize>, rate: Option<Rate>) -> Inbound {
    Inbound {
        limits: Limits { concurrency, rate },
        ..inbound(accepted())
    }
}

#[tokio::test]
async fn a_place_is_taken_until_the_answer_or_until_the_caller_leaves() {
    let mut bridge = Bridge::start(vec![route("place-order", limited(Some(1), None))]).await;
    let (mut first, mut second) = (bridge.client().await, bridge.client().await);
    first.send(post("/orders/eu", "", "x")).await;
    let taken = bridge.broker.take().await;
    let refused = second.ask(post("/orders/eu", "", "x")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.has("retry-after: 1"), "{}", refused.head);
    assert_eq!(refused.json()["type"], "urn:hareway:rate-limited");
    taken.end(Outcome::Routed);
    assert_eq!(first.answer().await.status, 202);

    // The same connection goes on, and a caller that leaves makes room.
    second.send(post("/orders/eu", "", "x")).await;
    let taken = bridge.broker.take().await;
    drop(second);
    bridge
        .eventually("the caller has left", |bridge| {
            bridge.metric(r#"hareway_http_requests_total{route="place-order",status="499"}"#) == 1.0
        })
        .await;
    first.send(post("/orders/eu", "", "x")).await;
    bridge.broker.take().await.end(Outcome::Routed);
    assert_eq!(first.answer().await.status, 202);
    taken.end(Outcome::Routed);
    let line = r#"hareway_http_requests_total{route="place-order",status="429"}"#;
    assert_eq!(bridge.metric(line), 1.0);
}

/// The route would not take the body either, which is read before the message is made.
#[tokio::test]
async fn a_call_too_many_is_refused_before_its_body_is_read() {
    let interval = Duration::from_secs(3600);
    let rate = Some(Rate { interval, burst: 1 });
    let mut bridge = Bridge::start(vec![route("place-order", limited(None, rate))]).await;
    let mut client = bridge.client().await;
    client.send(post("/orders/eu", "", "x")).await;
    bridge.broker.take().await.end(Outcome::Routed);
    assert_eq!(client.answer().await.status, 202);

    let head = "POST /orders/eu HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    client.send(head.to_owned()).await;
    let refused = client.answer().await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.has("retry-after: 3600") || refused.has("retry-after: 3599"),
        "{}",
        refused.head
    );
    assert!(bridge.broker.is_idle());

    let head =
        "POST /orders/eu HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut client = bridge.client().await;
    client.send(head.to_owned()).await;
    let refused = client.answer().await;
    assert_eq!(refused.status, 429, "and not 100: {}", refused.head);
    assert!(refused.has("connection: close"), "{}", refused.head);
}
