use super::*;

#[test]
fn every_property_has_a_header() {
    let mut message = message(&[
        ("X-Tenant", text("acme")),
        ("x-count", AMQPValue::LongInt(3)),
    ]);
    message.properties = message
        .properties
        .with_content_type(short("text/plain"))
        .with_content_encoding(short("gzip"))
        .with_correlation_id(short("c"))
        .with_reply_to(short("answers"))
        .with_expiration(short("60000"))
        .with_timestamp(1_700_000_000)
        .with_type(short("t"))
        .with_user_id(short("guest"))
        .with_app_id(short("shop"))
        .with_priority(4)
        .with_delivery_mode(2);
    let out = deliver(&message, &HeaderRules::default());
    let expected = [
        ("message-id", "id-1"),
        ("idempotency-key", "id-1"),
        ("correlation-id", "c"),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
        ("amqp-reply-to", "answers"),
        ("amqp-expiration", "60000"),
        ("amqp-timestamp", "1700000000"),
        ("amqp-type", "t"),
        ("amqp-user-id", "guest"),
        ("amqp-app-id", "shop"),
        ("amqp-priority", "4"),
        ("amqp-delivery-mode", "2"),
        ("hareway-attempt", "1"),
        ("hareway-queue", "work"),
        ("hareway-exchange", "orders"),
        ("hareway-routing-key", "order.placed.eu"),
        ("x-tenant", "acme"),
        ("x-count", "amqp:i32:3"),
    ];
    assert_eq!(out.headers.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(out.headers.get(name).unwrap(), value, "{name}");
    }
    assert_eq!(out.skipped, 0);
}

#[test]
fn a_retried_message_shows_its_origin_and_its_attempt() {
    let mut message = message(&[
        ("hareway-attempt", AMQPValue::LongUInt(2)),
        ("hareway-exchange", text("orders")),
        ("hareway-routing-key", text("order.placed.eu")),
        (
            "hareway-first-failed-at",
            AMQPValue::Timestamp(1_700_000_000),
        ),
        ("hareway-last-error", text("status 503")),
        ("x-death", AMQPValue::FieldArray(FieldArray::default())),
    ]);
    message.exchange = short("");
    message.routing_key = short("work");
    let out = deliver(&message, &HeaderRules::default());
    assert_eq!(out.headers.get("hareway-attempt").unwrap(), "3");
    assert_eq!(out.headers.get("hareway-exchange").unwrap(), "orders");
    assert_eq!(
        out.headers.get("hareway-routing-key").unwrap(),
        "order.placed.eu"
    );
    assert!(!out.headers.contains_key("hareway-last-error"));
    assert!(!out.headers.contains_key("x-death"));
    assert_eq!(message.failures(), 2);
    assert_eq!(timestamp(message.first_failed_at().unwrap()), 1_700_000_000);
}

#[test]
fn what_http_cannot_carry_is_skipped_and_counted() {
    let mut message = message(&[
        ("bad name", text("1")),
        ("", text("1")),
        ("x-ok", text("1")),
    ]);
    message.properties = message.properties.with_type(short("line\nbreak"));
    let out = deliver(&message, &HeaderRules::default());
    assert_eq!(out.skipped, 3);
    assert!(out.headers.contains_key("x-ok"));
    assert!(!out.headers.contains_key("amqp-type"));
}

#[test]
fn drop_reaches_properties_and_hareways_own_headers() {
    let rules = HeaderRules {
        drop: vec![
            HeaderPattern::Prefix("hareway-".to_owned()),
            HeaderPattern::Exact("idempotency-key".to_owned()),
        ],
        ..HeaderRules::default()
    };
    let out = deliver(&message(&[("x-a", text("1"))]), &rules);
    let names: Vec<_> = out.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["message-id", "x-a"]);
}

#[test]
fn a_clients_idempotency_key_is_kept() {
    let out = deliver(
        &message(&[("idempotency-key", text("k"))]),
        &HeaderRules::default(),
    );
    assert_eq!(out.headers.get("idempotency-key").unwrap(), "k");
}

#[test]
fn more_headers_than_http_holds_are_counted() {
    let entries = (0..40_000).map(|n| (short(&format!("x-{n}")), AMQPValue::Boolean(true)));
    let mut message = message(&[]);
    message.properties = BasicProperties::default()
        .with_headers(FieldTable::from(entries.collect::<BTreeMap<_, _>>()));
    let out = deliver(&message, &HeaderRules::default());
    assert!(out.skipped > 0);
    assert_eq!(out.headers.len() as u64 + out.skipped, 40_000 + 6);
}
