//! The reply of a held call, or exactly why there is none.

use std::time::Duration;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{Bridge, inbound, post, route};
use crate::{
    amqp::{
        Outcome,
        testing::{Taken, reply},
    },
    config::model::{Answer, Correlate, HeaderRules, Reply},
    message::{Message, Publish},
    server::testing::{Client, PATIENCE},
};

fn settings() -> Reply {
    Reply {
        timeout: PATIENCE,
        queue: None,
        correlate: Correlate::CorrelationId,
        status: None,
        headers: HeaderRules::default(),
        waiting: 2,
    }
}

async fn bridge(settings: Reply) -> Bridge {
    Bridge::start(vec![route("quote", inbound(Answer::Reply(settings)))]).await
}

async fn asked(bridge: &mut Bridge, headers: &str) -> (Client, Taken) {
    let mut client = bridge.client().await;
    client.send(post("/orders/eu", headers, "question")).await;
    let taken = bridge.broker.take().await;
    (client, taken)
}

/// What a worker sends back, under the correlation id `id`.
fn replied(id: &ShortString, status: i32, body: &'static str) -> Message {
    let mut headers = FieldTable::default();
    headers.insert("http-status".into(), AMQPValue::LongInt(status));
    headers.insert("x-worker".into(), AMQPValue::LongString("w1".into()));
    Message {
        exchange: ShortString::default(),
        routing_key: "hareway.reply.test".into(),
        redelivered: false,
        properties: BasicProperties::default()
            .with_correlation_id(id.clone())
            .with_content_type("text/plain".into())
            .with_headers(headers),
        body: body.into(),
    }
}

fn correlation(publish: &Publish) -> ShortString {
    publish.properties.correlation_id().clone().unwrap()
}

#[tokio::test]
async fn a_reply_becomes_the_response() {
    let mut bridge = bridge(settings()).await;
    let headers = "Correlation-Id: mine\r\nMessage-Id: m-1\r\n";
    let (mut client, taken) = asked(&mut bridge, headers).await;
    let publish = taken.publish().clone();
    let id = correlation(&publish);
    assert!(
        id.as_str().starts_with("test.") && id.as_str().len() >= 32,
        "{id}"
    );
    let properties = publish.properties;
    assert_eq!(
        properties.reply_to().as_ref().unwrap().as_str(),
        "hareway.reply.test"
    );
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m-1");
    let expiration: u128 = properties
        .expiration()
        .as_ref()
        .unwrap()
        .as_str()
        .parse()
        .unwrap();
    assert!(
        (1..=PATIENCE.as_millis()).contains(&expiration),
        "{expiration}"
    );
    taken.end(Outcome::Routed);
    reply(&bridge.replies, replied(&id, 409, "answer"));
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (409, "answer"));
    for line in [
        "content-type: text/plain",
        "x-worker: w1",
        "correlation-id: mine",
        "message-id: m-1",
    ] {
        assert!(answer.has(line), "{line} is missing in {}", answer.head);
    }
    assert!(!answer.head.contains(id.as_str()));
    assert_eq!(bridge.replies.waiting(), 0);
    let line = r#"hareway_replies_total{outcome="matched",route="quote"}"#;
    assert_eq!(bridge.metric(line), 1.0);
}

#[tokio::test]
async fn a_reply_before_the_confirm_is_answered_at_once() {
    let mut bridge = bridge(settings()).await;
    let (mut client, taken) = asked(&mut bridge, "").await;
    reply(
        &bridge.replies,
        replied(&correlation(taken.publish()), 200, "quick"),
    );
    assert_eq!(client.answer().await.body, "quick");
    taken.end(Outcome::Routed);
    bridge
        .eventually("the publish is counted", |bridge| {
            bridge.metric(r#"hareway_published_total{outcome="routed",route="quote"}"#) == 1.0
        })
        .await;
}

#[tokio::test]
async fn a_reply_proves_a_publish_whose_outcome_is_unknown() {
    let mut bridge = bridge(settings()).await;
    let (mut client, taken) = asked(&mut bridge, "").await;
    let id = correlation(taken.publish());
    taken.end(Outcome::Unknown);
    bridge
        .eventually("the outcome is seen", |bridge| {
            bridge.metric(r#"hareway_published_total{outcome="unknown",route="quote"}"#) == 1.0
        })
        .await;
    reply(&bridge.replies, replied(&id, 200, "proof"));
    assert_eq!(client.answer().await.body, "proof");
}

#[tokio::test]
async fn the_message_id_correlates_where_the_route_says_so() {
    let mut settings = settings();
    settings.correlate = Correlate::MessageId;
    settings.queue = Some("shared.replies".to_owned());
    let mut bridge = bridge(settings).await;
    let headers = "Message-Id: m-1\r\nX-Request-Id: mine\r\n";
    let (mut client, taken) = asked(&mut bridge, headers).await;
    let properties = taken.publish().properties.clone();
    let id = properties.message_id().clone().unwrap();
    assert!(id.as_str().starts_with("test."), "{id}");
    assert_eq!(
        properties.reply_to().as_ref().unwrap().as_str(),
        "shared.replies"
    );
    taken.end(Outcome::Routed);
    reply(&bridge.replies, replied(&id, 200, "answer"));
    let answer = client.answer().await;
    assert!(answer.has("message-id: m-1") && answer.has("x-request-id: mine"));
}

#[tokio::test]
async fn no_reply_in_time_says_whether_the_request_was_confirmed() {
    for (outcome, name) in [
        (Some(Outcome::Routed), "reply-timeout"),
        (Some(Outcome::Unknown), "outcome-unknown"),
        (None, "outcome-unknown"),
    ] {
        let mut settings = settings();
        settings.timeout = Duration::from_millis(200);
        let mut bridge = bridge(settings).await;
        let (mut client, taken) = asked(&mut bridge, "Message-Id: m-1\r\n").await;
        let id = correlation(taken.publish());
        let mut kept = None;
        match outcome {
            Some(outcome) => taken.end(outcome),
            None => kept = Some(taken),
        }
        let answer = client.answer().await;
        drop(kept);
        assert_eq!(answer.status, 504, "{name}");
        assert_eq!(answer.json()["type"], format!("urn:hareway:{name}"));
        assert!(answer.has("message-id: m-1"));
        assert_eq!(bridge.replies.waiting(), 0);
        reply(&bridge.replies, replied(&id, 200, "late"));
        let line = r#"hareway_replies_total{outcome="late",route="quote"}"#;
        assert_eq!(bridge.metric(line), 1.0);
    }
}

#[tokio::test]
async fn a_failed_publish_ends_the_wait() {
    let mut bridge = bridge(settings()).await;
    for (outcome, status) in [
        (Outcome::Unroutable, 502),
        (Outcome::Nacked, 503),
        (Outcome::Unavailable, 503),
    ] {
        let (mut client, taken) = asked(&mut bridge, "").await;
        taken.end(outcome);
        assert_eq!(client.answer().await.status, status);
        assert_eq!(bridge.replies.waiting(), 0);
    }
    let line = r#"hareway_replies_total{outcome="abandoned",route="quote"}"#;
    assert_eq!(bridge.metric(line), 0.0);
}

#[tokio::test]
async fn calls_beyond_the_waiting_limit_are_refused() {
    let mut settings = settings();
    settings.waiting = 1;
    let mut bridge = bridge(settings).await;
    let (mut held, taken) = asked(&mut bridge, "").await;
    let id = correlation(taken.publish());
    taken.end(Outcome::Routed);
    let mut client = bridge.client().await;
    let answer = client.ask(post("/orders/eu", "", "x")).await;
    assert_eq!(answer.json()["type"], "urn:hareway:overloaded");
    assert!(bridge.broker.is_idle());
    reply(&bridge.replies, replied(&id, 200, "answer"));
    assert_eq!(held.answer().await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_waiter_along() {
    let mut bridge = bridge(settings()).await;
    let (client, taken) = asked(&mut bridge, "").await;
    taken.end(Outcome::Routed);
    assert_eq!(bridge.replies.waiting(), 1);
    drop(client);
    bridge
        .eventually("the table is empty", |bridge| bridge.replies.waiting() == 0)
        .await;
    let line = r#"hareway_replies_total{outcome="abandoned",route="quote"}"#;
    assert_eq!(bridge.metric(line), 1.0);
}

#[tokio::test]
async fn a_reply_that_is_no_response_is_said_to_be_bad() {
    let mut bridge = bridge(settings()).await;
    for status in [100, 199, 600, -1] {
        let (mut client, taken) = asked(&mut bridge, "").await;
        let id = correlation(taken.publish());
        taken.end(Outcome::Routed);
        reply(&bridge.replies, replied(&id, status, "x"));
        let answer = client.answer().await;
        assert_eq!(answer.status, 502, "{status}");
        assert_eq!(answer.json()["type"], "urn:hareway:bad-reply");
    }
}
