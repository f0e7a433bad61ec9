use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use std::time::Duration;

use super::*;
use crate::{
    config::model::{AmqpSource, Failure, HttpTarget, Limits, Park},
    policy::StatusSet,
    template::{Part, Source, Template},
};

fn message(entries: &[(&str, &str)]) -> Message {
    let mut table = FieldTable::default();
    for (name, text) in entries {
        let value = AMQPValue::LongString((*text).into());
        table.insert(ShortString::try_new(*name).unwrap(), value);
    }
    Message {
        exchange: ShortString::default(),
        routing_key: ShortString::try_new("work").unwrap(),
        redelivered: false,
        properties: BasicProperties::default().with_headers(table),
        body: Bytes::from_static(b"\xff\x00body"),
    }
}

fn to(url: UrlTarget) -> Deliver {
    Deliver {
        source: AmqpSource {
            queue: "work".into(),
            concurrency: 1,
            prefetch: 1,
        },
        target: HttpTarget {
            url,
            method: None,
            timeout: Duration::from_secs(1),
            success: StatusSet::success(),
            response_limit: 1024,
        },
        headers: HeaderRules::default(),
        reply_headers: HeaderRules::default(),
        failure: Failure {
            retry: None,
            park: Park::Drop,
        },
        circuit: None,
        limits: Limits::default(),
    }
}

fn base() -> Deliver {
    to(UrlTarget::Base(Uri::from_static("http://backend:9001")))
}

fn region() -> Template {
    Template::from_parts(vec![
        Part::Literal("http://backend:9000/".into()),
        Part::Value {
            source: Source::Path("region".into()),
            verbatim: false,
            fallback: None,
        },
    ])
}

fn built(
    deliver: &Deliver,
    entries: &[(&str, &str)],
) -> Result<Request<Full<Bytes>>, Unforwardable> {
    build(deliver, &message(entries), "id-1").map(|call| call.request)
}

#[test]
fn a_base_url_gets_the_path_query_and_method_of_the_first_request() {
    let request = built(
        &base(),
        &[
            ("http-method", "PUT"),
            ("http-path", "/invoices/a%20b"),
            ("http-query", "x=1&y"),
        ],
    )
    .unwrap();
    assert_eq!(request.uri(), "http://backend:9001/invoices/a%20b?x=1&y");
    assert_eq!(request.method(), Method::PUT);
    assert_eq!(request.headers().get("message-id").unwrap(), "id-1");
}

#[test]
fn a_message_that_was_no_request_is_posted_to_the_root() {
    let request = built(&base(), &[]).unwrap();
    assert_eq!(request.uri(), "http://backend:9001/");
    assert_eq!(request.method(), Method::POST);
}

#[test]
fn no_message_leads_the_call_elsewhere() {
    for path in [
        "",
        "admin",
        "//evil/x",
        "/a/../b",
        "/a/%2e%2E/b",
        "/..",
        "/a/.",
        "/a\\..\\b",
        "/a%5c..%5cb",
        "/a b",
        "/a?b",
        "/a#b",
        "/a\r\nx: y",
        "http://evil/",
        "@evil/",
        "/\u{e9}",
    ] {
        let error = built(&base(), &[("http-path", path)]).unwrap_err();
        assert_eq!(error, Unforwardable::Path, "{path:?}");
    }
    for query in ["a b", "a#b", "a\r\nx: y", "\u{e9}"] {
        let error = built(&base(), &[("http-path", "/a"), ("http-query", query)]).unwrap_err();
        assert_eq!(error, Unforwardable::Path, "{query:?}");
    }
}

#[test]
fn a_method_that_is_none_becomes_post() {
    for method in ["", "GE T", "CONNECT", "G\r\n"] {
        let request = built(&base(), &[("http-method", method)]).unwrap();
        assert_eq!(request.method(), Method::POST, "{method:?}");
    }
}

#[test]
fn a_template_is_filled_or_the_message_cannot_be_forwarded() {
    let deliver = to(UrlTarget::Exact(region()));
    let request = built(&deliver, &[("hareway-path-region", "eu/west")]).unwrap();
    assert_eq!(request.uri(), "http://backend:9000/eu%2Fwest");
    let missing = Unforwardable::Template(RenderError::Missing("path.region".into()));
    assert_eq!(built(&deliver, &[]).unwrap_err(), missing);
    for url in ["ftp://backend/", "/only/a/path", "http://", "not a url"] {
        let deliver = to(UrlTarget::Exact(Template::literal(url)));
        let error = built(&deliver, &[]).unwrap_err();
        assert_eq!(error, Unforwardable::Url(url.to_owned()));
    }
}

#[test]
fn the_routes_headers_are_set_over_the_messages() {
    let mut deliver = base();
    deliver.headers.set = vec![
        (HeaderName::from_static("x-region"), Template::literal("eu")),
        (
            HeaderName::from_static("host"),
            Template::literal("virtual.example"),
        ),
        (
            HeaderName::from_static("transfer-encoding"),
            Template::literal("chunked"),
        ),
    ];
    let request = built(&deliver, &[("x-region", "us")]).unwrap();
    assert_eq!(request.headers().get("x-region").unwrap(), "eu");
    assert_eq!(request.headers().get("host").unwrap(), "virtual.example");
    assert!(!request.headers().contains_key("transfer-encoding"));
    deliver.headers.set = vec![(HeaderName::from_static("x-region"), region())];
    assert!(matches!(
        built(&deliver, &[]),
        Err(Unforwardable::Template(_))
    ));
}
