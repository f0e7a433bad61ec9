use super::{Around, at, messages, places, scalar};
use crate::config::{
    diagnostic::Diagnostics,
    raw::{Node, Value, load},
};

fn set(texts: &[&str]) -> (Option<Node>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let texts = texts.iter().map(|text| (*text).to_owned());
    let texts = texts.collect::<Vec<_>>();
    let node = load(&[], &texts, &Around::default(), &mut diagnostics);
    (node, diagnostics)
}

#[test]
fn a_path_leads_to_a_value() {
    let (node, diagnostics) = set(&[
        r#"queues."a.b".type=classic"#,
        "queues.c='x=y'",
        "routes.r.retry=[1s, 5s]",
        "routes.r.to={ http: 'http://b/{path.x}' }",
        "routes.r.url=http://b/{path.x}",
    ]);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    let node = node.unwrap();
    let value = at(&node, &["queues", "a.b", "type"]);
    assert_eq!(value.place.to_string(), "--set:1:19");
    assert_eq!(value.place.length, 7);
    assert_eq!(scalar(&node, &["queues", "a.b", "type"]).text(), "classic");
    assert_eq!(scalar(&node, &["queues", "c"]).text(), "x=y");
    let Value::List(delays) = &at(&node, &["routes", "r", "retry"]).value else {
        panic!("no list")
    };
    assert_eq!(delays.len(), 2);
    assert_eq!(
        scalar(&node, &["routes", "r", "to", "http"]).text(),
        "http://b/{path.x}"
    );
    assert_eq!(
        scalar(&node, &["routes", "r", "url"]).text(),
        "http://b/{path.x}"
    );
}

#[test]
fn the_last_one_counts() {
    let (node, _) = set(&["a.b=1", "a.b=2"]);
    assert_eq!(scalar(&node.unwrap(), &["a", "b"]).text(), "2");
}

#[test]
fn a_mistake_shows_its_place() {
    let said = |text, place: &str, message: &str| {
        let (node, diagnostics) = set(&[text]);
        assert!(node.is_none(), "{text}");
        assert_eq!(places(&diagnostics), [place], "{diagnostics}");
        assert_eq!(messages(&diagnostics), [message]);
    };
    said("a.b", "--set:1:3", "there is no `=` with a value after it");
    said("a..b=1", "--set:1:3", "a key is empty");
    said("=1", "--set:1:1", "a key is empty");
    said(
        "a.\"b=1",
        "--set:1:3",
        "the quote of this key is not closed",
    );
    said(
        "a.\"b\"c=1",
        "--set:1:6",
        "a dot or `=` comes after a quoted key",
    );
    said(
        "a={ b: x/{c} }",
        "--set:1:8",
        "a text with braces or brackets inside a `{…}` map or a `[…]` list needs quotes",
    );
}
