//! What messages tell, and what their copies take along.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable, ShortString},
};

use super::{
    Destination, Facts, Filter, NoWay,
    destination::{renewed, replayed},
};
use crate::message::{Message, Publish};

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(ShortString::from(*name), value.clone());
    }
    table
}

fn message(entries: &[(&str, AMQPValue)]) -> Message {
    Message {
        exchange: "dlx".into(),
        routing_key: "dead".into(),
        redelivered: true,
        properties: BasicProperties::default()
            .with_headers(table(entries))
            .with_message_id("m1".into()),
        body: Bytes::from_static(b"body"),
    }
}

/// One entry of `x-death`; the newest comes first.
fn death(queue: &str, reason: &str, at: u64) -> AMQPValue {
    let keys = FieldArray::from(vec![text("order.placed"), text("cc")]);
    AMQPValue::FieldTable(table(&[
        ("queue", text(queue)),
        ("reason", text(reason)),
        ("exchange", text("orders")),
        ("routing-keys", AMQPValue::FieldArray(keys)),
        ("count", AMQPValue::LongLongInt(2)),
        ("time", AMQPValue::Timestamp(at)),
    ]))
}

fn deaths(entries: Vec<AMQPValue>) -> (&'static str, AMQPValue) {
    ("x-death", AMQPValue::FieldArray(entries.into()))
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn copied(publish: Publish) -> Message {
    Message {
        exchange: publish.exchange,
        routing_key: publish.routing_key,
        redelivered: false,
        properties: publish.properties,
        body: publish.body,
    }
}

#[test]
fn the_newest_death_says_where_a_message_came_from() {
    let entries = vec![
        death("work", "rejected", 200),
        death("retry", "expired", 100),
    ];
    let facts = Facts::of(&message(&[deaths(entries)]));
    assert_eq!(facts.id.as_deref(), Some("m1"));
    assert_eq!(facts.reason.as_deref(), Some("rejected"));
    assert_eq!(facts.origin.queue.as_deref(), Some("work"));
    assert_eq!(facts.origin.exchange.as_deref(), Some("orders"));
    assert_eq!(facts.origin.routing_key.as_deref(), Some("order.placed"));
    assert_eq!((facts.attempts, facts.bytes), (2, 4));
    assert_eq!(facts.parked_at, Some(at(200)));
    assert_eq!(facts.age(at(260)), Some(Duration::from_secs(60)));
}

/// What Hareway parked says more than that its parked queue overflowed afterwards; what was only
/// retried by Hareway and then dropped by the broker came from where it died.
#[test]
fn the_last_to_park_a_message_says_where_it_came_from() {
    let own = [
        ("hareway-queue", text("work")),
        ("hareway-reason", text("exhausted")),
        ("hareway-exchange", text("first")),
        ("hareway-status", AMQPValue::LongInt(503)),
        ("hareway-attempt", AMQPValue::LongLongInt(4)),
    ];
    let overflow = deaths(vec![death("parked", "maxlen", 900)]);
    let mut entries = own.to_vec();
    entries.extend([
        overflow.clone(),
        ("hareway-parked-at", AMQPValue::Timestamp(800)),
    ]);
    let facts = Facts::of(&message(&entries));
    assert_eq!(facts.origin.queue.as_deref(), Some("work"));
    assert_eq!(facts.reason.as_deref(), Some("exhausted"));
    assert_eq!((facts.status, facts.attempts), (Some(503), 4));
    assert_eq!(facts.parked_at, Some(at(800)));
    let mut entries = own.to_vec();
    entries.push(overflow);
    let facts = Facts::of(&message(&entries));
    assert_eq!(facts.origin.queue.as_deref(), Some("parked"));
    assert_eq!(facts.origin.exchange.as_deref(), Some("first"));
    assert_eq!(facts.reason.as_deref(), Some("maxlen"));
    assert_eq!(facts.parked_at, Some(at(900)));
}

#[test]
fn headers_of_other_shapes_tell_nothing() {
    for value in [
        text("work"),
        AMQPValue::FieldArray(FieldArray::default()),
        AMQPValue::FieldArray(vec![text("work")].into()),
        AMQPValue::FieldArray(vec![AMQPValue::FieldTable(FieldTable::default())].into()),
    ] {
        let facts = Facts::of(&message(&[
            ("x-death", value),
            ("hareway-parked-at", text("yesterday")),
            ("hareway-status", AMQPValue::LongInt(-1)),
        ]));
        let expected = Facts {
            id: Some("m1".to_owned()),
            bytes: 4,
            ..Facts::default()
        };
        assert_eq!(facts, expected);
    }
}

#[test]
fn what_a_message_does_not_tell_no_filter_matches() {
    let message = message(&[]);
    let facts = Facts::of(&message);
    let hour = Some(Duration::from_secs(3600));
    assert!(Filter::default().is_all());
    for filter in [
        Filter {
            older_than: hour,
            ..Filter::default()
        },
        Filter {
            newer_than: hour,
            ..Filter::default()
        },
        Filter {
            reason: Some(String::new()),
            ..Filter::default()
        },
        Filter {
            status: "5xx".parse().ok(),
            ..Filter::default()
        },
        Filter {
            ids: vec!["m2".to_owned()],
            ..Filter::default()
        },
        Filter {
            headers: vec![("a".to_owned(), String::new())],
            ..Filter::default()
        },
    ] {
        assert!(!filter.is_all());
        assert!(
            !filter.matches(&message, &facts, SystemTime::now()),
            "{filter:?}"
        );
    }
    assert!(Filter::default().matches(&message, &facts, SystemTime::now()));
}

#[test]
fn a_second_replay_adds_to_the_history() {
    let first = message(&[
        ("hareway-queue", text("work")),
        ("hareway-parked-at", AMQPValue::Timestamp(800)),
        ("hareway-attempt", AMQPValue::LongLongInt(3)),
    ]);
    let again = |message: &Message| {
        let facts = Facts::of(message);
        let way = Destination::Origin.way(message, &facts, "parked").unwrap();
        copied(replayed(message, &facts, way, at(1000)))
    };
    let mut once = again(&first);
    assert_eq!((once.routing_key.as_str(), once.failures()), ("work", 0));
    let mut headers = once.properties.headers().clone().unwrap();
    headers.insert("hareway-attempt".into(), AMQPValue::LongLongInt(5));
    once.properties = once.properties.with_headers(headers);
    let facts = Facts::of(&again(&once));
    assert_eq!(
        (facts.replays, facts.earlier_attempts, facts.attempts),
        (2, 8, 0)
    );
    assert_eq!(facts.parked_at, None);
}

/// What the broker would act on must not be acted on again, and its own words must not go along.
#[test]
fn a_replay_leaves_behind_what_the_broker_would_act_on() {
    let list = AMQPValue::FieldArray(vec![text("other")].into());
    let mut dead = message(&[
        ("CC", list),
        ("x-delivery-count", AMQPValue::LongLongInt(3)),
        deaths(vec![death("work", "expired", 200)]),
    ]);
    dead.properties = dead
        .properties
        .with_user_id("shop".into())
        .with_delivery_mode(1);
    let facts = Facts::of(&dead);
    let way = Destination::Origin.way(&dead, &facts, "dead").unwrap();
    let copy = copied(replayed(&dead, &facts, way, at(1000)));
    for gone in ["CC", "x-death", "x-delivery-count"] {
        assert_eq!(copy.header(gone), None, "{gone}");
    }
    assert_eq!(copy.properties.user_id(), &None);
    assert_eq!(copy.properties.delivery_mode(), &Some(2));
    assert_eq!(copy.header_text("hareway-user-id").as_deref(), Some("shop"));
    assert_eq!(copy.origin_exchange(), "orders");
    assert_eq!(copy.origin_routing_key(), "order.placed");
}

/// It stays where it is: as transient and as short-lived as it was, and as old.
#[test]
fn a_message_that_is_put_back_stays_what_it_was() {
    let mut dead = message(&[deaths(vec![death("work", "rejected", 200)])]);
    dead.properties = dead
        .properties
        .with_delivery_mode(1)
        .with_expiration("60000".into());
    let facts = Facts::of(&dead);
    let copy = copied(renewed(&dead, &facts, "dead".into(), "look-1"));
    assert_eq!(Facts::of(&copy), facts);
    assert_eq!(copy.routing_key.as_str(), "dead");
    assert_eq!(copy.properties.delivery_mode(), &Some(1));
    assert_eq!(
        copy.properties
            .expiration()
            .as_ref()
            .map(ShortString::as_str),
        Some("60000")
    );
    assert_eq!(copy.header("hareway-expiration"), None);
    assert_eq!(copy.body, dead.body);
}

#[test]
fn there_is_not_always_a_way() {
    let dead = message(&[deaths(vec![death("work", "rejected", 200)])]);
    let facts = Facts::of(&dead);
    let way = |to: Destination, queue| to.way(&dead, &facts, queue).map(|way| way.to_string());
    let exchange = |key: Option<&str>| Destination::Exchange {
        name: "again".to_owned(),
        routing_key: key.map(str::to_owned),
    };
    assert_eq!(
        way(Destination::Origin, "dead"),
        Ok("queue `work`".to_owned())
    );
    assert_eq!(way(Destination::Origin, "work"), Err(NoWay::Itself));
    assert_eq!(
        way(Destination::Queue("dead".to_owned()), "dead"),
        Err(NoWay::Itself)
    );
    assert_eq!(
        way(Destination::Queue("q".repeat(256)), "dead"),
        Err(NoWay::TooLong)
    );
    let shown = |key: &str| Ok(format!("exchange `again`, routing key `{key}`"));
    assert_eq!(way(exchange(None), "dead"), shown("order.placed"));
    assert_eq!(way(exchange(Some("k")), "dead"), shown("k"));
    let silent = message(&[]);
    let nowhere = Destination::Origin.way(&silent, &Facts::of(&silent), "dead");
    assert_eq!(nowhere, Err(NoWay::NoOrigin));
}
