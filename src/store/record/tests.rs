use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use proptest::{option, prelude::*};

use super::*;
use crate::message::tests::{any_name, any_value};

fn any_short() -> impl Strategy<Value = ShortString> {
    prop_oneof![
        "[ -~]{0,255}",
        any::<String>().prop_filter("255 bytes at most", |text| text.len() <= 255),
    ]
    .prop_map(|text| ShortString::try_new(text).unwrap())
}

fn any_headers() -> impl Strategy<Value = FieldTable> {
    prop::collection::btree_map(any_name(), any_value(), 0..12).prop_map(FieldTable::from)
}

fn any_properties() -> impl Strategy<Value = BasicProperties> {
    let texts = prop::collection::vec(option::of(any_short()), TEXTS.len());
    let octets = (option::of(any::<u8>()), option::of(any::<u8>()));
    let others = (option::of(any::<u64>()), option::of(any_headers()));
    (texts, octets, others).prop_map(|(texts, (mode, priority), (timestamp, headers))| {
        let mut properties = BasicProperties::default();
        for ((_, set), text) in TEXTS.into_iter().zip(texts) {
            if let Some(text) = text {
                properties = set(properties, text);
            }
        }
        if let Some(mode) = mode {
            properties = properties.with_delivery_mode(mode);
        }
        if let Some(priority) = priority {
            properties = properties.with_priority(priority);
        }
        if let Some(timestamp) = timestamp {
            properties = properties.with_timestamp(timestamp);
        }
        match headers {
            Some(headers) => properties.with_headers(headers),
            None => properties,
        }
    })
}

pub(crate) fn any_publish() -> impl Strategy<Value = Publish> {
    (any_short(), any_short(), any_properties(), any::<Vec<u8>>()).prop_map(
        |(exchange, routing_key, properties, body)| Publish {
            exchange,
            routing_key,
            properties,
            body: body.into(),
        },
    )
}

/// The debug form tells every type apart, and takes a NaN for itself.
fn form(publish: &Publish) -> String {
    format!("{publish:?}")
}

fn at(microseconds: u64) -> SystemTime {
    time(microseconds)
}

proptest! {
    #[test]
    fn every_message_comes_back_exactly(publish in any_publish(), now in 0..u64::MAX / 2) {
        let record = encode(&publish, at(now)).unwrap();
        let (stored_at, back) = decode(&record).unwrap();
        prop_assert_eq!(stored_at, at(now));
        prop_assert_eq!(stored_at_us(&record), now);
        prop_assert_eq!(form(&back), form(&publish));
    }

    #[test]
    fn any_changed_bit_is_seen(publish in any_publish(), place in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut record = encode(&publish, at(1)).unwrap();
        let place = place.index(record.len());
        record[place] ^= 1 << bit;
        prop_assert!(decode(&record).is_none());
        prop_assert!(restamped(&record, 2).is_none());
    }

    #[test]
    fn any_missing_end_is_seen(publish in any_publish(), length in any::<prop::sample::Index>()) {
        let record = encode(&publish, at(1)).unwrap();
        prop_assert!(decode(&record[..length.index(record.len())]).is_none());
    }

    /// Bytes that carry a right CRC and make no sense: no panic, no endless allocation.
    #[test]
    fn garbage_under_a_right_crc_is_refused_or_read(mut record in prop::collection::vec(any::<u8>(), HEAD..300)) {
        record[CRC_BYTES] = VERSION;
        seal(&mut record).unwrap();
        drop(decode(&record));
    }

    #[test]
    fn a_restamped_record_differs_only_in_its_time(publish in any_publish(), now in 0..u64::MAX / 2) {
        let record = encode(&publish, at(1)).unwrap();
        let again = restamped(&record, now).unwrap();
        prop_assert_eq!(again.len(), record.len());
        let (stored_at, back) = decode(&again).unwrap();
        prop_assert_eq!(stored_at, at(now));
        prop_assert_eq!(form(&back), form(&publish));
    }
}

fn nested(levels: usize) -> Publish {
    let mut value = AMQPValue::Void;
    for _ in 0..levels {
        value = AMQPValue::FieldArray(FieldArray::from(vec![value]));
    }
    let mut headers = FieldTable::default();
    headers.insert("x".into(), value);
    Publish {
        exchange: "".into(),
        routing_key: "q".into(),
        properties: BasicProperties::default().with_headers(headers),
        body: Bytes::new(),
    }
}

#[test]
fn headers_are_kept_to_a_certain_depth_and_refused_beyond() {
    let deep = nested(fields::MAX_DEPTH);
    let record = encode(&deep, at(1)).unwrap();
    assert_eq!(form(&decode(&record).unwrap().1), form(&deep));
    assert!(encode(&nested(fields::MAX_DEPTH + 1), at(1)).is_none());
}

#[test]
fn a_record_of_a_later_version_is_not_guessed_at() {
    let mut record = encode(&nested(0), at(1)).unwrap();
    record[CRC_BYTES] = VERSION + 1;
    seal(&mut record).unwrap();
    assert!(decode(&record).is_none());
}

/// The first version of the format, byte by byte: stores that exist must stay readable.
#[test]
fn the_format_is_as_it_was() {
    let publish = Publish {
        exchange: "x".into(),
        routing_key: "k".into(),
        properties: BasicProperties::default()
            .with_message_id("m".into())
            .with_delivery_mode(2),
        body: Bytes::from_static(b"hi"),
    };
    let record = encode(&publish, at(0x0102)).unwrap();
    let after_crc = [
        1,
        2,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
        b'x',
        1,
        b'k',
        0b0000_1000,
        1,
        1,
        b'm',
        2,
        b'h',
        b'i',
    ];
    assert_eq!(record[CRC_BYTES..], after_crc);
}
