mod forwarding;
mod replies;
mod requests;
mod round_trip;

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
pub(crate) fn any_value() -> impl Strategy<Value = AMQPValue> {
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

pub(crate) fn any_name() -> impl Strategy<Value = ShortString> {
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
