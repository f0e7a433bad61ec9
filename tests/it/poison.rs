//! Messages that no client library would publish, and that a broker passes on as they are: each is
//! delivered or parked, none ends the process or its connection for good.

use std::time::Duration;

use hareway::config::names::parked_queue;

use crate::support::{
    Backend, Rig,
    amqp::with_id,
    eventually, must,
    wire::{CONTENT_TYPE, HEADERS, MESSAGE_ID, Wire, nested, short, table},
};

/// Publishes one odd message, then a good one, and waits until both are dealt with.
async fn survives(flags: u16, properties: &[u8]) {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let yaml = format!(
        "amqp: {{ reconnect_max: 500ms }}\nroutes:\n  PFX-fwd:\n    from: {{ amqp: PFX-work }}\n    to: {{ http: \"{}\" }}\n",
        backend.url("/")
    );
    let bridge = rig.bridge(&yaml).await;
    let (work, parked) = (rig.name("work"), parked_queue(&rig.name("fwd")));
    let mut wire = Wire::connect(rig.url()).await;
    wire.publish(&work, flags, properties, b"odd").await;
    rig.amqp().send(&work, with_id("good"), b"good").await;
    eventually(Duration::from_secs(15), "both dealt with", async || {
        if let Some(status) = bridge.exited() {
            panic!("the bridge has ended: {status}");
        }
        let seen = backend.requests();
        let good = seen.iter().any(|request| request.body == "good");
        let odd = seen.iter().any(|request| request.body == "odd");
        let parked = rig
            .amqp()
            .counts(&parked)
            .await
            .map_or(0, |counts| counts.messages);
        must(good && (odd || parked == 1), || {
            format!("good {good}, odd {odd}, parked {parked}")
        })
    })
    .await;
    rig.settles_at(&work, 0).await;
}

/// Headers nested so deep that a recursive parser needs megabytes of stack for them.
#[tokio::test]
async fn deeply_nested_headers() {
    survives(HEADERS, &table(b"x-deep", &nested(4_000))).await;
}

/// A property that is not UTF-8.
#[tokio::test]
async fn a_property_that_is_not_text() {
    survives(CONTENT_TYPE, &short(b"text/\xff\xfe")).await;
}

/// A message id that is not UTF-8.
#[tokio::test]
async fn a_message_id_that_is_not_text() {
    survives(MESSAGE_ID, &short(b"\xc3\x28")).await;
}

/// A header whose name is not UTF-8.
#[tokio::test]
async fn a_header_name_that_is_not_text() {
    survives(HEADERS, &table(b"x-\xff", b"t\x01")).await;
}

/// A header value of every type that brokers know, some of them of no standard.
#[tokio::test]
async fn header_values_of_every_type() {
    let values: [&[u8]; 17] = [
        b"t\x01",
        b"b\xff",
        b"B\xff",
        b"s\xff\xff",
        b"u\xff\xff",
        b"I\xff\xff\xff\xff",
        b"i\xff\xff\xff\xff",
        b"l\xff\xff\xff\xff\xff\xff\xff\xff",
        b"f\x3f\xc0\0\0",
        b"d\x3f\xf8\0\0\0\0\0\0",
        b"D\xff\xff\xff\xff\xff",
        b"S\0\0\0\x02\xff\xfe",
        b"A\0\0\0\0",
        b"T\xff\xff\xff\xff\xff\xff\xff\xff",
        b"F\0\0\0\0",
        b"V",
        b"x\0\0\0\x02\xff\xfe",
    ];
    let mut entries = Vec::new();
    for (number, value) in values.iter().enumerate() {
        entries.extend(short(format!("x-{number}").as_bytes()));
        entries.extend_from_slice(value);
    }
    survives(HEADERS, &crate::support::wire::long(&entries)).await;
}
