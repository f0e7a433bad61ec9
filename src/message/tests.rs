use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, request::Parts};
use lapin::{
    BasicProperties,
    types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString},
};
use proptest::prelude::*;

use super::*;
use crate::{
    config::model::{Correlate, HeaderPattern, HeaderRules, Reply},
    template::{Source, Template, Values},
};

// === Helpers ===

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(short(name), value.clone());
    }
    table
}

fn message(entries: &[(&str, AMQPValue)]) -> Message {
    Message {
        exchange: short("orders"),
        routing_key: short("order.placed.eu"),
        redelivered: false,
        properties: BasicProperties::default().with_headers(table(entries)),
        body: Bytes::from_static(b"{}"),
    }
}

fn parts(headers: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::post("http://bridge/orders/eu?a=1&b=x+y%2Bz");
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn accept(headers: &[(&str, &[u8])], rules: &HeaderRules) -> BasicProperties {
    request::properties(&parts(headers), rules, &[], &RequestOptions::default()).unwrap()
}

fn deliver(message: &Message, rules: &HeaderRules) -> Forwarded {
    forward::headers(message, "id-1", "work", rules, &[])
}

fn exact(names: &[&str]) -> Vec<HeaderPattern> {
    names
        .iter()
        .map(|name| HeaderPattern::Exact((*name).to_owned()))
        .collect()
}

fn entry<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// Every type that the wire has, nested a few levels; NaN is tested by its bits elsewhere.
fn any_value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        Just(AMQPValue::Void),
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        (any::<u8>(), any::<u32>())
            .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(ByteArray::from(bytes))),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(LongString::from(bytes))),
        any::<String>().prop_map(|text| AMQPValue::LongString(text.into())),
        "amqp:(text|i8|table|array|void|bool)?:?.{0,12}"
            .prop_map(|text| AMQPValue::LongString(text.into())),
        "\\PC{0,20}".prop_map(|text| AMQPValue::ShortString(short(&text))),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| AMQPValue::FieldArray(FieldArray::from(items))),
            prop::collection::btree_map(any_name(), inner, 0..6)
                .prop_map(|entries| AMQPValue::FieldTable(FieldTable::from(entries))),
        ]
    })
}

fn any_name() -> impl Strategy<Value = ShortString> {
    prop_oneof![
        "[a-zA-Z0-9-]{1,20}".prop_map(|name| short(&name)),
        "\\PC{0,20}".prop_map(|name| short(&name)),
        any::<String>()
            .prop_filter("255 bytes at most", |name| name.len() <= 255)
            .prop_map(|name| short(&name)),
        prop::sample::select(vec![
            "Connection",
            "content-length",
            "Transfer-Encoding",
            "Host",
            "Content-Type",
            "x-death",
            "hareway-attempt",
            "http-path",
            "message-id",
            "Set-Cookie",
            "authorization",
        ])
        .prop_map(short),
    ]
}

/// NaN is not equal to itself; its debug form is enough beside the test of its bits.
fn same(left: &AMQPValue, right: &AMQPValue) -> bool {
    left == right || format!("{left:?}") == format!("{right:?}")
}

// === Values ===

proptest! {
    #[test]
    fn every_value_survives_its_text_form(value in any_value()) {
        let text = field::write(&value).unwrap();
        prop_assert!(HeaderValue::from_bytes(&text).is_ok(), "not a header value: {text:?}");
        let back = field::read(&text);
        prop_assert!(same(&back, &value), "{value:?} became {back:?}");
    }

    #[test]
    fn every_value_survives_a_whole_round_trip(name in "x-[a-z]{1,20}", value in any_value()) {
        let out = deliver(&message(&[(&name, value.clone())]), &HeaderRules::default());
        prop_assert_eq!(out.skipped, 0);
        let line = out.headers.get(&name).unwrap().as_bytes();
        let back = accept(&[(&name, line)], &HeaderRules::default());
        let back = entry(&back, &name).unwrap();
        prop_assert!(same(back, &value), "{value:?} became {back:?}");
    }

    /// What a client sends reaches the backend byte by byte, forms that only look typed included.
    #[test]
    fn a_plain_header_crosses_unchanged(line in "[!-~\u{a1}-\u{ff}]([ -~\u{a1}-\u{ff}]{0,30}[!-~])?") {
        prop_assume!(!line.starts_with("amqp:"));
        let properties = accept(&[("x-any", line.as_bytes())], &HeaderRules::default());
        prop_assert_eq!(entry(&properties, "x-any"), Some(&text(&line)));
        let mut message = message(&[]);
        message.properties = properties;
        let out = deliver(&message, &HeaderRules::default());
        prop_assert_eq!(out.headers.get("x-any").unwrap().as_bytes(), line.as_bytes());
    }

    #[test]
    fn reading_never_panics(line in any::<Vec<u8>>(), form in "amqp:[a-z0-9]{1,7}:.{0,40}") {
        drop(field::read(&line));
        drop(field::read(form.as_bytes()));
    }

    /// Whatever stands in a table: no panic, no hop-by-hop header, no line break in any value.
    #[test]
    fn no_table_smuggles(
        entries in prop::collection::btree_map(any_name(), any_value(), 0..20),
        listed in "[a-z]{1,8}",
    ) {
        let mut all: BTreeMap<ShortString, AMQPValue> = entries;
        all.insert(short("connection"), text(&format!("close, {listed}")));
        all.insert(short(&listed), text("named by Connection"));
        let mut message = message(&[]);
        message.properties = BasicProperties::default().with_headers(FieldTable::from(all));
        let out = deliver(&message, &HeaderRules::default());
        for (name, value) in &out.headers {
            prop_assert!(!headers::is_hop_by_hop(name.as_str()), "{name} crossed");
            prop_assert!(name.as_str() != listed, "{name} is named by Connection");
            prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
        for single in ["content-type", "message-id", "hareway-attempt", "idempotency-key"] {
            prop_assert!(out.headers.get_all(single).iter().count() <= 1);
        }
        prop_assert_eq!(out.headers.get("hareway-attempt").unwrap(), "1");
    }
}

#[test]
fn a_nan_keeps_its_bits() {
    let odd = f64::from_bits(0x7ff8_0000_0000_beef);
    let form = field::write(&AMQPValue::Double(odd)).unwrap();
    assert_eq!(form, b"amqp:f64:0x7ff800000000beef");
    let AMQPValue::Double(back) = field::read(&form) else {
        panic!("not a double");
    };
    assert_eq!(back.to_bits(), odd.to_bits());
}

#[test]
fn the_forms_are_those_of_the_documentation() {
    let nested = table(&[
        (
            "list",
            AMQPValue::FieldArray(vec![AMQPValue::Boolean(true), text("é")].into()),
        ),
        ("n", AMQPValue::LongInt(-5)),
    ]);
    let cases: [(AMQPValue, &str); 8] = [
        (text("plain"), "plain"),
        (text("amqp:not a form"), "amqp:not a form"),
        (text("amqp:i8:1"), "amqp:text:amqp:i8:1"),
        (text("two\r\nlines"), "amqp:text:two%0D%0Alines"),
        (text(" edge"), "amqp:text:%20edge"),
        (AMQPValue::ByteArray(vec![0, 255].into()), "amqp:bytes:AP8="),
        (
            AMQPValue::DecimalValue(DecimalValue {
                scale: 2,
                value: 1999,
            }),
            "amqp:decimal:2:1999",
        ),
        (
            AMQPValue::FieldTable(nested),
            r#"amqp:table:{"list":["amqp:bool:true","\u00e9"],"n":"amqp:i32:-5"}"#,
        ),
    ];
    for (value, form) in cases {
        assert_eq!(
            String::from_utf8(field::write(&value).unwrap()).unwrap(),
            form
        );
    }
}

#[test]
fn a_table_nested_too_deep_is_skipped_and_counted() {
    let mut value = text("core");
    for _ in 0..200 {
        value = AMQPValue::FieldArray(vec![value].into());
    }
    let out = deliver(
        &message(&[("x-deep", value), ("x-flat", text("1"))]),
        &HeaderRules::default(),
    );
    assert_eq!(out.skipped, 1);
    assert!(out.headers.contains_key("x-flat"));
}

// === Request → message ===

#[test]
fn properties_come_from_their_headers() {
    let properties = accept(
        &[
            ("message-id", b"m-1"),
            ("x-request-id", b"r-1"),
            ("content-type", b"application/json"),
            ("content-encoding", b"gzip"),
            ("x-tenant", b"acme"),
            ("traceparent", b"00-1-2-01"),
        ],
        &HeaderRules::default(),
    );
    assert_eq!(properties.message_id(), &Some(short("m-1")));
    assert_eq!(properties.correlation_id(), &Some(short("r-1")));
    assert_eq!(properties.content_type(), &Some(short("application/json")));
    assert_eq!(properties.content_encoding(), &Some(short("gzip")));
    assert_eq!(properties.app_id(), &Some(short("hareway")));
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert!(properties.timestamp().unwrap() > 1_700_000_000);
    let expected = table(&[
        ("http-method", text("POST")),
        ("http-path", text("/orders/eu")),
        ("http-query", text("a=1&b=x+y%2Bz")),
        ("traceparent", text("00-1-2-01")),
        ("x-request-id", text("r-1")),
        ("x-tenant", text("acme")),
    ]);
    assert_eq!(properties.headers(), &Some(expected));
}

#[test]
fn a_request_without_an_id_gets_a_uuid_of_version_7() {
    let id = accept(&[], &HeaderRules::default())
        .message_id()
        .clone()
        .unwrap();
    assert_eq!(
        uuid::Uuid::parse_str(id.as_str())
            .unwrap()
            .get_version_num(),
        7
    );
}

#[test]
fn a_client_cannot_write_what_is_not_its_own() {
    let rules = HeaderRules {
        pass: Some(vec![HeaderPattern::Prefix(String::new())]),
        ..HeaderRules::default()
    };
    for name in [
        "hareway-attempt",
        "hareway-path-region",
        "x-death",
        "x-first-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "http-status",
        "amqp-user-id",
        "host",
        "transfer-encoding",
        "te",
        "keep-alive",
        "authorization",
        "cookie",
        "proxy-authorization",
    ] {
        let properties = accept(&[(name, b"1")], &rules);
        assert_eq!(entry(&properties, name), None, "{name} crossed");
    }
    let properties = accept(&[("http-path", b"/admin"), ("http-method", b"PUT")], &rules);
    assert_eq!(entry(&properties, "http-path"), Some(&text("/orders/eu")));
    assert_eq!(entry(&properties, "http-method"), Some(&text("POST")));
}

#[test]
fn a_credential_crosses_where_pass_names_it_and_hop_by_hop_never() {
    let rules = HeaderRules {
        pass: Some(exact(&["authorization", "connection", "te"])),
        ..HeaderRules::default()
    };
    let headers: &[(&str, &[u8])] = &[
        ("authorization", b"Bearer x"),
        ("te", b"trailers"),
        ("x-other", b"1"),
        ("baggage", b"k=v"),
    ];
    let properties = accept(headers, &rules);
    assert_eq!(entry(&properties, "authorization"), Some(&text("Bearer x")));
    assert_eq!(entry(&properties, "te"), None);
    assert_eq!(entry(&properties, "x-other"), None);
    assert_eq!(entry(&properties, "baggage"), Some(&text("k=v")));
    let named = accept(
        &[
            ("authorization", b"x"),
            ("connection", b"close, Authorization"),
        ],
        &rules,
    );
    assert_eq!(entry(&named, "authorization"), None);
}

#[test]
fn lines_of_one_name_are_joined_but_not_those_of_set_cookie() {
    let rules = HeaderRules {
        pass: Some(exact(&["accept", "set-cookie", "cookie"])),
        ..HeaderRules::default()
    };
    let properties = accept(
        &[
            ("accept", b"a/b"),
            ("accept", b"c/d"),
            ("cookie", b"a=1"),
            ("cookie", b"b=2"),
            ("set-cookie", b"a=1, x"),
            ("set-cookie", b"b=2"),
        ],
        &rules,
    );
    assert_eq!(entry(&properties, "accept"), Some(&text("a/b, c/d")));
    assert_eq!(entry(&properties, "cookie"), Some(&text("a=1; b=2")));
    let mut message = message(&[]);
    message.properties = properties;
    let out = deliver(&message, &rules);
    let cookies: Vec<_> = out.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1, x", "b=2"]);
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let properties = accept(&[("x-latin", b"caf\xe9")], &HeaderRules::default());
    let kept = AMQPValue::LongString(LongString::from(&b"caf\xe9"[..]));
    assert_eq!(entry(&properties, "x-latin"), Some(&kept));
}

#[test]
fn what_amqp_cannot_carry_is_refused_with_its_name() {
    let long = vec![b'x'; 256];
    let refused = |headers: &[(&str, &[u8])]| {
        let rules = HeaderRules::default();
        request::properties(&parts(headers), &rules, &[], &RequestOptions::default()).unwrap_err()
    };
    let too_long = |name: &str| BadRequest::TooLong {
        name: name.to_owned(),
        length: 256,
    };
    assert_eq!(refused(&[("message-id", &long)]), too_long("message-id"));
    assert_eq!(
        refused(&[("correlation-id", &long)]),
        too_long("correlation-id")
    );
    assert_eq!(
        refused(&[("message-id", b"\xff")]),
        BadRequest::NotText("message-id".to_owned())
    );
    assert_eq!(
        refused(&[("message-id", b"1"), ("message-id", b"2")]),
        BadRequest::Repeated("message-id".to_owned())
    );
    let name = "n".repeat(256);
    assert_eq!(refused(&[(&name, b"1")]), BadRequest::NameTooLong(256));
    let large = vec![b'x'; 70_000];
    assert!(matches!(
        refused(&[("x-large", &large)]),
        BadRequest::HeadersTooLarge(_)
    ));
    // An alias is an ordinary header too, so it is no reason to refuse.
    let alias = accept(&[("x-request-id", &long)], &HeaderRules::default());
    assert_eq!(alias.correlation_id(), &None);
}

#[test]
fn the_routes_own_settings_win() {
    let set = [
        (HeaderName::from_static("x-tenant"), "acme".to_owned()),
        (
            HeaderName::from_static("content-type"),
            "text/plain".to_owned(),
        ),
        (HeaderName::from_static("connection"), "close".to_owned()),
    ];
    let path = [(Arc::from("region"), "eu/west".to_owned())];
    let options = RequestOptions {
        message_id: Some("chosen"),
        kind: Some("order.placed"),
        priority: Some(7),
        expiration: Some(Duration::from_secs(5)),
        persistent: false,
        path: &path,
    };
    let parts = parts(&[
        ("x-tenant", b"client"),
        ("content-type", b"a/b"),
        ("message-id", b"m"),
    ]);
    let properties = request::properties(&parts, &HeaderRules::default(), &set, &options).unwrap();
    assert_eq!(properties.message_id(), &Some(short("chosen")));
    assert_eq!(properties.kind(), &Some(short("order.placed")));
    assert_eq!(properties.priority(), &Some(7));
    assert_eq!(properties.expiration(), &Some(short("5000")));
    assert_eq!(properties.delivery_mode(), &Some(1));
    assert_eq!(properties.content_type(), &Some(short("text/plain")));
    assert_eq!(entry(&properties, "x-tenant"), Some(&text("acme")));
    assert_eq!(entry(&properties, "connection"), None);
    assert_eq!(
        entry(&properties, "hareway-path-region"),
        Some(&text("eu/west"))
    );
}

#[test]
fn path_parameters_are_decoded_and_never_climb() {
    let names: [Arc<str>; 2] = ["a".into(), "rest".into()];
    let parameters = |raw: [&'static str; 2]| values::path_parameters(&names, raw);
    assert_eq!(
        parameters(["caf%C3%A9", "x/y%2Fz"]).unwrap(),
        [
            ("a".into(), "café".to_owned()),
            ("rest".into(), "x/y/z".to_owned())
        ]
    );
    let dots = BadRequest::DotSegment("rest".to_owned());
    assert_eq!(parameters(["a", "x/%2e%2E/y"]).unwrap_err(), dots);
    assert_eq!(parameters(["a", "x%2F.."]).unwrap_err(), dots);
    let unreadable = BadRequest::PathParameter("a".to_owned());
    assert_eq!(parameters(["%ff", ""]).unwrap_err(), unreadable);
    assert_eq!(parameters(["%0d%0a", ""]).unwrap_err(), unreadable);
}

// === Message → request ===

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

// === Replies ===

fn reply_rules(status: Option<Template>) -> Reply {
    Reply {
        timeout: Duration::from_secs(1),
        queue: None,
        correlate: Correlate::CorrelationId,
        status,
        headers: HeaderRules::default(),
        waiting: 1,
    }
}

#[test]
fn a_response_survives_the_way_back_to_the_caller() {
    let mut request = message(&[]);
    request.properties = request.properties.with_correlation_id(short("c-1"));
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("connection", "x-b"),
        ("x-b", "hidden"),
        ("content-length", "12"),
        ("set-cookie", "s=1"),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let rules = HeaderRules::default();
    let (properties, skipped) =
        reply::properties(StatusCode::IM_A_TEAPOT, &headers, &rules, &[], &request);
    assert_eq!(skipped, 0);
    assert_eq!(properties.correlation_id(), &Some(short("c-1")));
    assert_eq!(
        entry(&properties, "http-status"),
        Some(&AMQPValue::LongInt(418))
    );
    let mut back = message(&[]);
    back.properties = properties;
    let response = reply::response(&back, &reply_rules(None)).unwrap();
    assert_eq!(response.status, StatusCode::IM_A_TEAPOT);
    let names: Vec<_> = response.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["content-type", "x-a"]);
    assert_eq!(response.headers.get("x-a").unwrap(), "1, 2");
}

#[test]
fn the_status_of_a_reply_is_a_final_one_or_the_reply_is_bad() {
    let status = |value: Option<AMQPValue>| {
        let entries: Vec<_> = value
            .map(|value| ("http-status", value))
            .into_iter()
            .collect();
        reply::response(&message(&entries), &reply_rules(None)).map(|response| response.status)
    };
    assert_eq!(status(None), Ok(StatusCode::OK));
    assert_eq!(status(Some(text("404"))), Ok(StatusCode::NOT_FOUND));
    assert_eq!(
        status(Some(AMQPValue::LongLongInt(599))).unwrap().as_u16(),
        599
    );
    for bad in [
        text("600"),
        text("199"),
        text("ok"),
        AMQPValue::LongInt(-1),
        AMQPValue::Void,
    ] {
        assert!(matches!(status(Some(bad)), Err(BadReply::Status(_))));
    }
    let fixed = reply_rules(Some(Template::literal("201")));
    assert_eq!(
        reply::response(&message(&[]), &fixed).unwrap().status,
        StatusCode::CREATED
    );
}

#[test]
fn a_table_that_would_not_fit_a_frame_loses_its_largest_entries() {
    let large = "x".repeat(1000);
    let mut entries = table(&[("a", text("1")), ("b", text(&large)), ("c", text("2"))]);
    assert_eq!(reply::shrink(&mut entries, 500), 1);
    assert_eq!(entries, table(&[("a", text("1")), ("c", text("2"))]));
    assert_eq!(field::table_size(&entries), 4 + 2 * (1 + 1 + 1 + 4 + 1));
}

// === Template values ===

#[test]
fn templates_see_requests_and_messages() {
    let parts = parts(&[("x-tenant", b"acme")]);
    let body = Bytes::from_static(br#"{"id": 7, "none": null, "text": "", "list": [1]}"#);
    let path = [(Arc::from("region"), "eu".to_owned())];
    let request = RequestValues::new(&parts, &path, &body);
    let get = |source: Source| request.get(&source).map(std::borrow::Cow::into_owned);
    assert_eq!(get(Source::Path("region".into())).unwrap(), "eu");
    assert_eq!(get(Source::Query("b".into())).unwrap(), "x y+z");
    assert_eq!(get(Source::Header("x-tenant".into())).unwrap(), "acme");
    assert_eq!(get(Source::Json("/id".into())).unwrap(), "7");
    assert_eq!(get(Source::Json("/list".into())).unwrap(), "[1]");
    for absent in ["/none", "/text", "/other"] {
        assert_eq!(get(Source::Json(absent.into())), None);
    }

    let mut carried = message(&[
        ("hareway-path-region", text("eu")),
        ("http-query", text("a=1")),
        ("X-N", AMQPValue::LongInt(5)),
    ]);
    carried.body = Bytes::from_static(b"no json");
    carried.properties = carried.properties.with_type(short("t"));
    let values = MessageValues::new(&carried);
    let get = |source: Source| values.get(&source).map(std::borrow::Cow::into_owned);
    assert_eq!(get(Source::Path("region".into())).unwrap(), "eu");
    assert_eq!(get(Source::Query("a".into())).unwrap(), "1");
    assert_eq!(get(Source::Header("x-n".into())).unwrap(), "5");
    assert_eq!(get(Source::RoutingKey).unwrap(), "order.placed.eu");
    assert_eq!(
        get(Source::Property(crate::template::Property::Type)).unwrap(),
        "t"
    );
    assert_eq!(get(Source::Json("".into())), None);
}
