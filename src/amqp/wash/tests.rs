use super::{frame, stream::Washer};
use proptest::prelude::*;

fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

/// The payload of a header frame with these properties.
fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
    let head = [&60_u16.to_be_bytes()[..], &[0; 10], &flags.to_be_bytes()];
    [&head.concat(), properties].concat()
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0, 1][..], &long(payload), &[0xce]].concat()
}

fn washed(payload: &[u8]) -> (Vec<u8>, Option<bool>) {
    let mut copy = payload.to_vec();
    let changed = frame::header(&mut copy).ok();
    (copy, changed)
}

#[test]
fn good_headers_stay_as_they_are() {
    let values: [&[u8]; 18] = [
        b"t\x01",
        b"b\xff",
        b"B\xff",
        b"s\xff\xff",
        b"U\xff\xff",
        b"u\xff\xff",
        b"I\xff\xff\xff\xff",
        b"i\xff\xff\xff\xff",
        b"L\xff\xff\xff\xff\xff\xff\xff\xff",
        b"l\xff\xff\xff\xff\xff\xff\xff\xff",
        b"f\0\0\0\0",
        b"d\0\0\0\0\0\0\0\0",
        b"D\x01\0\0\0\x02",
        b"S\0\0\0\x02\xff\xfe",
        b"A\0\0\0\x02t\x01",
        b"T\0\0\0\0\0\0\0\0",
        b"F\0\0\0\x04\x01at\x01",
        b"x\0\0\0\x02\xff\xfe",
    ];
    let mut entries = Vec::new();
    for value in values {
        entries.extend(short("n\u{e4}me".as_bytes()));
        entries.extend_from_slice(value);
    }
    entries.extend(short(b"void"));
    entries.push(b'V');
    let text = short("t\u{e4}xt".as_bytes());
    let properties = [
        text.clone(),
        text.clone(),
        long(&entries),
        vec![2],
        vec![7],
        text.clone(),
        text.clone(),
        text.clone(),
        text.clone(),
        vec![0; 8],
        text.clone(),
        text.clone(),
        text.clone(),
        text,
    ];
    let payload = header(0xfffc, &properties.concat());
    assert_eq!(washed(&payload), (payload, Some(false)));
}

#[test]
fn what_is_not_utf8_is_replaced_in_place() {
    let (payload, changed) = washed(&header(1 << 15, &short(b"a/\xff\xc3\xa4")));
    assert_eq!(
        (payload, changed),
        (header(1 << 15, &short(b"a/???")), Some(true))
    );
    let table = |name: &[u8]| {
        header(
            1 << 13,
            &long(&[&short(name)[..], b"S\0\0\0\x01\xff"].concat()),
        )
    };
    assert_eq!(washed(&table(b"x-\xff")), (table(b"x-?"), Some(true)));
    let deliver = |key: &[u8]| {
        let head = [0, 60, 0, 60, 3, b't', b'a', b'g', 0, 0, 0, 0, 0, 0, 0, 1, 0];
        [&head[..], &short(b"ex"), &short(key)].concat()
    };
    let mut method = deliver(b"k\xffy");
    assert_eq!(frame::method(&mut method).ok(), Some(true));
    assert_eq!(method, deliver(b"k?y"));
}

#[test]
fn what_is_too_deep_becomes_bytes() {
    let mut value = vec![b'V'];
    for depth in 0..20_000 {
        let kind = if depth % 2 == 0 { b'A' } else { b'F' };
        let inner = if kind == b'F' {
            [&short(b"")[..], &value].concat()
        } else {
            value
        };
        value = [&[kind][..], &long(&inner)].concat();
    }
    let table = long(&[short(b"deep"), value].concat());
    let (payload, changed) = washed(&header(1 << 13, &table));
    assert_eq!(changed, Some(true));
    // Flags, the table's length and the entry's name stand before the first value.
    let mut value = payload.get(14 + 4 + 5..).unwrap();
    let mut depth = 0;
    loop {
        value = match value {
            [b'A', _, _, _, _, rest @ ..] => rest,
            [b'F', _, _, _, _, 0, rest @ ..] => rest,
            [b'x', ..] => break,
            other => panic!("{:?}", other.first()),
        };
        depth += 1;
    }
    assert_eq!(depth, 64);
}

#[test]
fn what_is_not_amqp_passes() {
    let mut washer = Washer::default();
    washer.take(b"AMQP\0\0\x09\x01");
    let mut out = [0; 64];
    assert_eq!(washer.give(&mut out), 8);
    assert!(out.starts_with(b"AMQP\0\0\x09\x01"));
}

proptest! {
    /// Whatever the payload, nothing panics and no length changes.
    #[test]
    fn any_payload_keeps_its_length(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut copy = payload.clone();
        drop(frame::header(&mut copy));
        prop_assert_eq!(copy.len(), payload.len());
        drop(frame::method(&mut copy));
        prop_assert_eq!(copy.len(), payload.len());
    }

    /// The pieces in which the bytes come and are taken make no difference.
    #[test]
    fn pieces_make_no_difference(
        frames in prop::collection::vec((1_u8..=8, prop::collection::vec(any::<u8>(), 0..80)), 0..12),
        cuts in prop::collection::vec(1_usize..60, 1..40),
        end in 0_usize..20,
    ) {
        let mut all: Vec<u8> = frames.iter().flat_map(|(kind, payload)| framed(*kind, payload)).collect();
        all.extend(framed(2, &header(1 << 15, &short(b"\xff"))));
        all.truncate(all.len() - end.min(all.len()));
        let mut whole = Washer::default();
        whole.take(&all);
        whole.end();
        let mut expected = vec![0; all.len() + 1];
        prop_assert_eq!(whole.give(&mut expected), all.len());
        expected.truncate(all.len());

        let mut washer = Washer::default();
        let (mut rest, mut found) = (&all[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            washer.take(now);
            rest = later;
            if rest.is_empty() {
                washer.end();
            }
            let mut out = [0; 37];
            loop {
                let given = washer.give(&mut out);
                found.extend_from_slice(&out[..given]);
                if given == 0 { break }
            }
            if rest.is_empty() { break }
        }
        prop_assert_eq!(found, expected);
    }
}
