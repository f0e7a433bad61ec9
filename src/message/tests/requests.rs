use super::*;

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
