use std::time::Duration;

use lapin::{BasicProperties, types::FieldArray};
use proptest::prelude::*;

use super::*;
use crate::message::{copy::HEADERS_LIMIT, field};

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}

fn message(entries: &[(&str, AMQPValue)]) -> Message {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(short(name), value.clone());
    }
    Message {
        exchange: short("orders"),
        routing_key: short("order.placed"),
        redelivered: false,
        properties: BasicProperties::default().with_headers(table),
        body: Bytes::from_static(b"\x00body"),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn history(parked: Option<Reason>) -> History<'static> {
    History {
        route: "fulfil",
        queue: "work",
        attempts: 2,
        first_failed_at: at(100),
        error: "status 503",
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        parked: parked.map(|reason| (reason, at(200))),
    }
}

fn copied(message: &Message, history: &History<'_>) -> Message {
    let publish = publish(
        message,
        &short("id-1"),
        short("hareway.retry.fulfil.1s"),
        history,
    );
    assert_eq!(publish.exchange.as_str(), "");
    Message {
        exchange: publish.exchange,
        routing_key: publish.routing_key,
        redelivered: false,
        properties: publish.properties,
        body: publish.body,
    }
}

fn text(message: &Message, name: &str) -> Option<String> {
    message.header_text(name).map(std::borrow::Cow::into_owned)
}

#[test]
fn a_copy_tells_its_history_and_keeps_its_identity() {
    let mut original = message(&[("x-tenant", AMQPValue::LongString("acme".into()))]);
    original.properties = original
        .properties
        .with_content_type(short("text/plain"))
        .with_content_encoding(short("gzip"))
        .with_correlation_id(short("c"))
        .with_timestamp(7)
        .with_type(short("t"))
        .with_app_id(short("shop"))
        .with_priority(3)
        .with_delivery_mode(1);
    let copy = copied(&original, &history(Some(Reason::Exhausted)));
    assert_eq!(copy.body, original.body);
    assert_eq!(copy.id(), Some("id-1"));
    assert_eq!(copy.failures(), 2);
    assert_eq!(copy.first_failed_at(), Some(at(100)));
    assert_eq!(copy.origin_exchange(), "orders");
    assert_eq!(copy.origin_routing_key(), "order.placed");
    for (name, value) in [
        ("x-tenant", "acme"),
        ("hareway-queue", "work"),
        ("hareway-route", "fulfil"),
        ("hareway-last-error", "status 503"),
        ("hareway-status", "503"),
        ("hareway-reason", "exhausted"),
        ("hareway-parked-at", "200"),
    ] {
        assert_eq!(text(&copy, name).as_deref(), Some(value), "{name}");
    }
    let (old, new) = (&original.properties, &copy.properties);
    assert_eq!(new.delivery_mode(), &Some(2));
    assert_eq!(new.content_type(), old.content_type());
    assert_eq!(new.content_encoding(), old.content_encoding());
    assert_eq!(new.correlation_id(), old.correlation_id());
    assert_eq!(new.timestamp(), old.timestamp());
    assert_eq!(new.kind(), old.kind());
    assert_eq!(new.app_id(), old.app_id());
    assert_eq!(new.priority(), old.priority());
}

#[test]
fn a_copy_of_a_copy_keeps_the_first_origin_and_no_stale_status() {
    let first = copied(&message(&[]), &history(Some(Reason::Rejected)));
    let second = History {
        attempts: 3,
        status: None,
        error: "no answer",
        ..history(None)
    };
    let copy = copied(&first, &second);
    assert_eq!(copy.origin_exchange(), "orders");
    assert_eq!(copy.origin_routing_key(), "order.placed");
    assert_eq!(copy.failures(), 3);
    assert_eq!(
        text(&copy, "hareway-last-error").as_deref(),
        Some("no answer")
    );
    for stale in ["hareway-status", "hareway-reason", "hareway-parked-at"] {
        assert_eq!(text(&copy, stale), None, "{stale}");
    }
}

/// RabbitMQ drops a dead-lettered message whose `x-death` shows a circle, without a word.
#[test]
fn what_the_broker_wrote_stays_behind() {
    let array = AMQPValue::FieldArray(FieldArray::default());
    let copy = copied(
        &message(&[
            ("x-death", array),
            ("x-first-death-queue", AMQPValue::LongString("q".into())),
            (
                "x-last-death-reason",
                AMQPValue::LongString("expired".into()),
            ),
            ("x-delivery-count", AMQPValue::LongLongInt(4)),
            ("x-other", AMQPValue::Boolean(true)),
        ]),
        &history(None),
    );
    let table = copy.properties.headers().as_ref().unwrap();
    let kept: Vec<_> = table
        .into_iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.starts_with("x-"))
        .collect();
    assert_eq!(kept, ["x-other"]);
}

/// Its expiration would end its waiting, its user id would be refused, its CC would be followed.
#[test]
fn what_the_broker_would_act_on_moves_to_headers() {
    let list = AMQPValue::FieldArray(vec![AMQPValue::LongString("other".into())].into());
    let mut original = message(&[("CC", list.clone()), ("BCC", list.clone())]);
    original.properties = original
        .properties
        .with_expiration(short("60000"))
        .with_user_id(short("shop"));
    let copy = copied(&copied(&original, &history(None)), &history(None));
    assert_eq!(copy.properties.expiration(), &None);
    assert_eq!(copy.properties.user_id(), &None);
    assert_eq!(copy.header("CC"), None);
    assert_eq!(copy.header("BCC"), None);
    assert_eq!(copy.header("hareway-cc"), Some(&list));
    assert_eq!(text(&copy, "hareway-expiration").as_deref(), Some("60000"));
    assert_eq!(text(&copy, "hareway-user-id").as_deref(), Some("shop"));
    let rules = crate::config::model::HeaderRules::default();
    let out = crate::message::forward::headers(&copy, "id-1", "work", &rules, &[]);
    assert_eq!(out.headers.get("amqp-expiration").unwrap(), "60000");
    assert_eq!(out.headers.get("amqp-user-id").unwrap(), "shop");
    assert_eq!(out.headers.get("cc").unwrap(), r#"amqp:array:["other"]"#);
}

proptest! {
    /// However large the message's headers and the error are, the copy's stay below one frame, and
    /// its history is whole.
    #[test]
    fn a_copy_always_fits_a_frame(
        sizes in prop::collection::vec(0usize..60_000, 0..6),
        error in "\\PC{0,2000}",
    ) {
        let large: Vec<(String, AMQPValue)> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| (format!("x-{n}"), AMQPValue::LongString("x".repeat(*size).into())))
            .collect();
        let entries: Vec<_> = large.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let name = "q".repeat(255);
        let history = History { error: &error, queue: &name, route: &name, ..history(Some(Reason::Rejected)) };
        let copy = copied(&message(&entries), &history);
        let table = copy.properties.headers().as_ref().unwrap();
        prop_assert!(field::table_size(table) <= HEADERS_LIMIT);
        prop_assert_eq!(copy.failures(), 2);
        let kept = sizes.iter().enumerate().filter(|(n, _)| copy.header(&format!("x-{n}")).is_some());
        let dropped = copy.header("hareway-dropped-headers").and_then(field::integer).unwrap_or(0);
        prop_assert_eq!(kept.count() + usize::try_from(dropped).unwrap(), sizes.len());
        let total: usize = sizes.iter().sum();
        prop_assert!(dropped == 0 || total > 100_000, "{dropped} dropped of {total} bytes");
    }
}
