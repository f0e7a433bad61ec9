use super::*;

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
        let attempt = (message.failures() + 1).to_string();
        prop_assert_eq!(out.headers.get("hareway-attempt").unwrap(), &attempt);
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

/// Forms stand in forms, so that no single text need be deep: what is read is never nested deeper
/// than what can be written, and a text beyond that is no form and stands for itself.
#[test]
fn a_text_that_nests_too_deep_is_a_text() {
    let array = |levels: usize, core: &str| {
        let core = serde_json::Value::String(core.to_owned());
        format!(
            "amqp:array:{}{core}{}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let fits = array(30, &array(33, "core"));
    let value = field::read(fits.as_bytes());
    assert!(matches!(value, AMQPValue::FieldArray(_)));
    assert_eq!(field::write(&value).unwrap(), array(63, "core").as_bytes());
    for deep in [array(64, "core"), array(100, "core")] {
        assert_eq!(field::read(deep.as_bytes()), text(&deep));
        assert_eq!(field::write(&text(&deep)).unwrap(), deep.as_bytes());
    }
    // The outer one is a form, and what it holds is a text.
    let inner = array(34, "core");
    let mut value = field::read(array(30, &inner).as_bytes());
    while let AMQPValue::FieldArray(items) = &value {
        value = items.as_slice().first().unwrap().clone();
    }
    assert_eq!(value, text(&inner));
    let thrice = array(60, &array(60, &array(60, "core")));
    let value = field::read(thrice.as_bytes());
    assert_eq!(field::read(&field::write(&value).unwrap()), value);
}
