use super::*;

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
