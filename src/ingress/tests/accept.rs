//! 202 means confirmed and routed; everything else says what happened instead.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio_util::task::TaskTracker;

use super::{Bridge, accepted, inbound, post, route};
use crate::{
    amqp::{Outcome, publisher::Gate},
    config::model::{Accepted, Answer, Unroutable},
    server::testing::{Answer as Got, PATIENCE},
    task,
};

async fn bridge() -> Bridge {
    Bridge::start(vec![route("place-order", inbound(accepted()))]).await
}

/// One request, and the outcome that its publish has.
async fn with_outcome(bridge: &mut Bridge, request: String, outcome: Outcome) -> Got {
    let mut client = bridge.client().await;
    client.send(request).await;
    bridge.broker.take().await.end(outcome);
    client.answer().await
}

#[tokio::test]
async fn success_is_only_said_after_the_outcome() {
    let mut bridge = bridge().await;
    let mut client = bridge.client().await;
    let request = post("/orders/eu", "Message-Id: a\"b\r\nX-A: 1\r\n", "hello");
    client.send(request).await;
    let taken = bridge.broker.take().await;
    let publish = taken.publish();
    assert_eq!(publish.exchange.as_str(), "orders");
    assert_eq!(publish.routing_key.as_str(), "order.eu");
    assert_eq!(publish.body, "hello");
    let properties = publish.properties.clone();
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert!(properties.headers().as_ref().unwrap().contains_key("x-a"));
    assert_eq!(
        bridge.metric("hareway_in_flight{route=\"place-order\"}"),
        1.0
    );
    taken.end(Outcome::Routed);
    let answer = client.answer().await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body, r#"{"id":"a\"b","status":"accepted"}"#);
    assert!(answer.has("message-id: a\"b"));
    assert!(answer.has("content-type: application/json"));
    bridge
        .eventually("the call is counted", |bridge| {
            bridge.metric(r#"hareway_http_requests_total{route="place-order",status="202"}"#) == 1.0
                && bridge.metric(r#"hareway_in_flight{route="place-order"}"#) == 0.0
        })
        .await;
}

#[tokio::test]
async fn every_outcome_has_its_own_answer() {
    for (outcome, status, name, later) in [
        (Outcome::Unroutable, 502, "unroutable", false),
        (Outcome::Nacked, 503, "rejected-by-broker", true),
        (Outcome::TooLarge, 413, "body-too-large", false),
        (
            Outcome::Refused("406 secret".to_owned()),
            502,
            "refused-by-broker",
            false,
        ),
        (Outcome::Unknown, 504, "outcome-unknown", false),
        (Outcome::Unavailable, 503, "broker-unavailable", true),
        (Outcome::Blocked, 503, "broker-blocked", true),
        (Outcome::Overloaded, 503, "overloaded", true),
    ] {
        let mut bridge = bridge().await;
        let label = outcome.label();
        let request = post("/orders/eu", "Message-Id: m-1\r\n", "x");
        let answer = with_outcome(&mut bridge, request, outcome).await;
        assert_eq!(answer.status, status, "{name}");
        assert!(
            answer.has("content-type: application/problem+json"),
            "{name}"
        );
        assert!(answer.has("message-id: m-1"), "{name}");
        assert_eq!(answer.head.contains("\nretry-after: "), later, "{name}");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:hareway:{name}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["message_id"], "m-1");
        assert!(!answer.body.contains("secret"), "{name}");
        let line = format!(r#"hareway_published_total{{outcome="{label}",route="place-order"}}"#);
        assert_eq!(bridge.metric(&line), 1.0, "{label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_outcome_reaches_another_request() {
    const CLIENTS: usize = 32;
    const EACH: usize = 50;
    let routes = vec![route("place-order", inbound(accepted()))];
    // A publish gives its place back just after its answer, so there are more than enough.
    let mut bridge = Bridge::with_limit(2 * CLIENTS, routes).await;
    let tracker = TaskTracker::new();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = bridge.client().await;
        clients.push(task::spawn(&tracker, "client", async move {
            for turn in 0..EACH {
                let id = format!("{number}-{turn}");
                let nacked = (number + turn) % 3 == 0;
                let body = if nacked { "nack" } else { "route" };
                let headers = format!("Message-Id: {id}\r\n");
                let answer = client.ask(post("/orders/eu", &headers, body)).await;
                assert_eq!(answer.status, if nacked { 503 } else { 202 }, "{id}");
                assert!(answer.has(&format!("message-id: {id}")), "{id}");
            }
        }));
    }
    // Answered in the reverse of their order, as confirms may come.
    tracker.close();
    let mut answered = 0;
    loop {
        let taken = tokio::select! {
            biased;
            () = tracker.wait() => break,
            taken = bridge.broker.take() => taken,
        };
        let mut window = vec![taken];
        while let Some(taken) = bridge.broker.try_take() {
            window.push(taken);
        }
        answered += window.len();
        while let Some(taken) = window.pop() {
            let nacked = taken.publish().body == "nack";
            taken.end(if nacked {
                Outcome::Nacked
            } else {
                Outcome::Routed
            });
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(answered, CLIENTS * EACH);
}

#[tokio::test]
async fn unroutable_names_exchange_and_routing_key() {
    let mut bridge = bridge().await;
    let request = post("/orders/eu", "", "x");
    let answer = with_outcome(&mut bridge, request, Outcome::Unroutable).await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("`orders`") && detail.contains("`order.eu`"),
        "{detail}"
    );
}

#[tokio::test]
async fn unroutable_is_success_where_the_route_discards() {
    let mut inbound = inbound(accepted());
    inbound.target.unroutable = Unroutable::Discard;
    let mut bridge = Bridge::start(vec![route("ping", inbound)]).await;
    let request = post("/orders/eu", "Message-Id: m-1\r\n", "x");
    let answer = with_outcome(&mut bridge, request, Outcome::Unroutable).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body, r#"{"id":"m-1","status":"discarded"}"#);
    let line = r#"hareway_published_total{outcome="discarded",route="ping"}"#;
    assert_eq!(bridge.metric(line), 1.0);
}

#[tokio::test]
async fn a_route_may_change_what_success_looks_like() {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-hook", HeaderValue::from_static("seen"));
    let inbound = inbound(Answer::Accepted(Accepted {
        status: StatusCode::OK,
        body: Some(Bytes::from_static(b"ok")),
        headers,
    }));
    let mut bridge = Bridge::start(vec![route("hook", inbound)]).await;
    let request = post("/orders/eu", "", "x");
    let answer = with_outcome(&mut bridge, request.clone(), Outcome::Routed).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert!(answer.has("x-hook: seen"));
    let answer = with_outcome(&mut bridge, request, Outcome::Nacked).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn a_broker_that_is_away_is_said_at_once() {
    let mut bridge = bridge().await;
    let mut client = bridge.client().await;
    for (gate, name) in [
        (Gate::Down, "broker-unavailable"),
        (Gate::Blocked, "broker-blocked"),
    ] {
        bridge.broker.set(gate);
        let answer = client.ask(post("/orders/eu", "", "x")).await;
        assert_eq!(answer.json()["type"], format!("urn:hareway:{name}"));
        assert!(answer.head.contains("message-id: "), "{name}");
    }
    assert!(bridge.broker.is_idle());
    bridge.broker.set(Gate::Open);
    client.send(post("/orders/eu", "", "x")).await;
    bridge.broker.take().await.end(Outcome::Routed);
    assert_eq!(client.answer().await.status, 202);
}

#[tokio::test]
async fn publishes_beyond_the_limit_are_refused_at_once() {
    let mut bridge = bridge().await;
    let mut held = Vec::new();
    for _ in 0..super::IN_FLIGHT {
        let mut client = bridge.client().await;
        client.send(post("/orders/eu", "", "x")).await;
        held.push((client, bridge.broker.take().await));
    }
    let mut client = bridge.client().await;
    let answer = client.ask(post("/orders/eu", "", "x")).await;
    assert_eq!(answer.json()["type"], "urn:hareway:overloaded");
    for (mut client, taken) in held {
        taken.end(Outcome::Routed);
        assert_eq!(client.answer().await.status, 202);
    }
}

#[tokio::test]
async fn a_client_that_leaves_does_not_take_its_publish_along() {
    let mut bridge = bridge().await;
    let mut client = bridge.client().await;
    client.send(post("/orders/eu", "", "x")).await;
    let taken = bridge.broker.take().await;
    drop(client);
    bridge
        .eventually("the client is seen to have left", |bridge| {
            bridge.metric(r#"hareway_http_requests_total{route="place-order",status="499"}"#) == 1.0
        })
        .await;
    // The shutdown waits for the outcome as well.
    bridge.stop.cancel();
    taken.end(Outcome::Routed);
    bridge
        .eventually("its publish is counted", |bridge| {
            bridge.metric(r#"hareway_published_total{outcome="routed",route="place-order"}"#) == 1.0
        })
        .await;
    assert_eq!(
        tokio::time::timeout(PATIENCE, bridge.task)
            .await
            .unwrap()
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn stopping_waits_for_what_has_begun() {
    let mut bridge = bridge().await;
    let mut client = bridge.client().await;
    client.send(post("/orders/eu", "", "x")).await;
    let taken = bridge.broker.take().await;
    bridge.stop.cancel();
    taken.end(Outcome::Routed);
    assert_eq!(client.answer().await.status, 202);
    assert_eq!(
        tokio::time::timeout(PATIENCE, bridge.task)
            .await
            .unwrap()
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_connection_stays() {
    let mut inbound = inbound(accepted());
    inbound.target.confirm_timeout = Duration::from_millis(1);
    let template = crate::template::Template::from_parts(vec![crate::template::Part::Value {
        source: crate::template::Source::Query("tenant".into()),
        verbatim: false,
        fallback: None,
    }]);
    let name = http::HeaderName::from_static("x-tenant");
    inbound.headers.set.push((name, template));
    let mut bridge = Bridge::start(vec![route("place-order", inbound)]).await;
    let mut client = bridge.client().await;
    let long_id = format!("Message-Id: {}\r\n", "x".repeat(256));
    let long_key = format!("/orders/{}?tenant=1", "x".repeat(250));
    let long_path = format!("/orders/{}", "x".repeat(8200));
    for (path, headers, status, name) in [
        ("/orders/eu", "", 400, "bad-request"),
        ("/orders/eu?tenant=1", long_id.as_str(), 400, "bad-request"),
        (
            "/orders/eu?tenant=1",
            "Message-Id: a\r\nMessage-Id: b\r\n",
            400,
            "bad-request",
        ),
        ("/orders/%FF?tenant=1", "", 400, "bad-request"),
        ("/orders/../x", "", 400, "bad-request"),
        ("/orders/a.b?tenant=1", "", 400, "bad-request"),
        (long_key.as_str(), "", 400, "bad-request"),
        ("/elsewhere", "", 404, "not-found"),
        (long_path.as_str(), "", 414, "uri-too-long"),
    ] {
        let answer = client.ask(post(path, headers, "some body")).await;
        assert_eq!(answer.status, status, "{path} {headers}");
        assert_eq!(answer.json()["type"], format!("urn:hareway:{name}"));
    }
    let wrong = client
        .ask("GET /orders/eu HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.has("allow: post"));
    assert!(bridge.broker.is_idle());
    let large = client
        .ask(post("/orders/eu?tenant=1", "", &"x".repeat(1001)))
        .await;
    assert_eq!(large.status, 413);
    let line = r#"hareway_http_requests_total{route="",status="404"}"#;
    assert_eq!(bridge.metric(line), 1.0);
    client.send(post("/orders/eu?tenant=1", "", "x")).await;
    let taken = bridge.broker.take().await;
    let headers = taken.publish().properties.headers().clone().unwrap();
    assert_eq!(
        headers.inner()["x-tenant"],
        lapin::types::AMQPValue::LongString("1".into())
    );
}

#[tokio::test]
async fn a_request_goes_to_one_host() {
    let mut bridge = bridge().await;
    let mut client = bridge.client().await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let request = format!("POST /orders/eu HTTP/1.1\r\n{hosts}Content-Length: 1\r\n\r\nx");
        assert_eq!(client.ask(request).await.status, 400, "{hosts}");
    }
    let old = "POST /orders/eu HTTP/1.0\r\nContent-Length: 1\r\n\r\nx";
    client.send(old).await;
    bridge.broker.take().await.end(Outcome::Routed);
    assert_eq!(client.answer().await.status, 202);
}

#[tokio::test]
async fn two_framings_never_smuggle_a_request() {
    let mut bridge = bridge().await;
    let mut client = bridge.client().await;
    let inner = post("/orders/smuggled", "", "x");
    let length = inner.len() + 5;
    let request = format!(
        "POST /orders/eu HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    );
    client.send(request).await;
    let taken = bridge.broker.take().await;
    assert_eq!(taken.publish().routing_key.as_str(), "order.eu");
    taken.end(Outcome::Routed);
    // RFC 9112 §6.1: what follows on the connection is not trusted.
    assert!(client.answer().await.has("connection: close"));
    assert!(client.is_closed().await);
    assert!(bridge.broker.is_idle());
}

#[tokio::test]
async fn an_outcome_that_does_not_come_is_unknown() {
    let mut inbound = inbound(accepted());
    inbound.target.confirm_timeout = Duration::from_millis(20);
    let mut bridge = Bridge::start(vec![route("place-order", inbound)]).await;
    let mut client = bridge.client().await;
    client
        .send(post("/orders/eu", "Message-Id: m-1\r\n", "x"))
        .await;
    let _taken = bridge.broker.take().await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.json()["type"], "urn:hareway:outcome-unknown");
    assert!(answer.has("message-id: m-1"));
}
