use std::borrow::Cow;

use proptest::prelude::*;

use super::{ParseError, parse};
use crate::template::{Part, Property, Source, Target, Template, Values};

fn written(text: &str) -> Result<Template, ParseError> {
    parse(&[(text.to_owned(), false)])
}

fn value(source: Source) -> Part {
    Part::Value {
        source,
        verbatim: false,
        fallback: None,
    }
}

/// The only reference of a template that is nothing else.
fn only(text: &str) -> Part {
    let template = written(text).unwrap();
    match template.parts() {
        [part] => part.clone(),
        parts => panic!("{text} is {parts:?}"),
    }
}

#[test]
fn every_source_can_be_named() {
    assert_eq!(only("{path.id}"), value(Source::Path("id".into())));
    assert_eq!(only("{query.a.b}"), value(Source::Query("a.b".into())));
    assert_eq!(
        only("{header.X-Tenant}"),
        value(Source::Header("x-tenant".into()))
    );
    assert_eq!(
        only("{property.reply_to}"),
        value(Source::Property(Property::ReplyTo))
    );
    assert_eq!(only("{routing_key}"), value(Source::RoutingKey));
    assert_eq!(
        only("{json:/a/b~1c/0}"),
        value(Source::Json("/a/b~1c/0".into()))
    );
    assert_eq!(only("{json:}"), value(Source::Json("".into())));
}

#[test]
fn every_property_has_its_word() {
    for property in super::PROPERTIES {
        assert_eq!(Property::from_word(property.as_str()), Some(property));
    }
}

#[test]
fn fallbacks_and_stars() {
    let part = |source, verbatim, fallback: Option<&str>| Part::Value {
        source,
        verbatim,
        fallback: fallback.map(Into::into),
    };
    let path = Source::Path("x".into());
    assert_eq!(only("{path.x:-}"), part(path.clone(), false, Some("")));
    assert_eq!(
        only("{path.x:-a:-b.c/d}"),
        part(path.clone(), false, Some("a:-b.c/d"))
    );
    assert_eq!(only("{*path.x}"), part(path.clone(), true, None));
    assert_eq!(only("{*path.x:-y}"), part(path, true, Some("y")));
    let pointer = Source::Json("/a".into());
    assert_eq!(only("{json:/a:-b}"), part(pointer, false, Some("b")));
}

#[test]
fn text_and_references_alternate() {
    let template = written("a.{path.x}{query.y}.{{b}}").unwrap();
    assert_eq!(
        template.parts(),
        [
            Part::Literal("a.".into()),
            value(Source::Path("x".into())),
            value(Source::Query("y".into())),
            Part::Literal(".{b}".into()),
        ]
    );
    let references = template.references().map(ToString::to_string);
    assert_eq!(references.collect::<Vec<_>>(), ["path.x", "query.y"]);
    assert_eq!(written("").unwrap().as_literal(), Some(""));
    assert_eq!(
        written("{{path.x}}").unwrap().as_literal(),
        Some("{path.x}")
    );
}

#[test]
fn a_fallback_may_be_interpolated_but_not_a_reference() {
    let parts = |texts: &[(&str, bool)]| {
        let texts = texts
            .iter()
            .map(|(text, literal)| ((*text).to_owned(), *literal));
        parse(&texts.collect::<Vec<_>>())
    };
    let template = parts(&[("{path.x:-", false), ("a}{b", true), ("}", false)]).unwrap();
    assert_eq!(
        template.parts(),
        [Part::Value {
            source: Source::Path("x".into()),
            verbatim: false,
            fallback: Some("a}{b".into()),
        }]
    );
    let error = parts(&[("a{path.", false), ("x", true), ("}", false)]).unwrap_err();
    assert_eq!((error.part, error.offset), (1, 0));
    // A brace of the file and one from outside make no pair.
    let template = parts(&[("{", true), ("{path.x}", false)]).unwrap();
    assert_eq!(template.parts().len(), 2);
}

#[test]
fn a_mistake_has_its_place_and_what_to_write() {
    let said = |text: &str, place: (usize, usize), message: &str, help: &str| {
        let error = written(text).unwrap_err();
        assert_eq!((error.offset, error.length), place, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(error.help.contains(help), "{text}: {}", error.help);
    };
    said("é{path.x", (1, 7), "not closed", "`{{`");
    said("a}b", (1, 1), "closes nothing", "`}}`");
    said("a{path.x{y}}", (8, 1), "inside braces", "plain text");
    said(
        "/x/{id}",
        (3, 4),
        "refers to nothing",
        "did you mean `{path.id}`?",
    );
    said(
        "{paths.id}",
        (0, 10),
        "refers to nothing",
        "did you mean `{path.id}`?",
    );
    said(
        "{headers.x:-y}",
        (0, 14),
        "refers to nothing",
        "did you mean `{header.x}`?",
    );
    said(
        "{routing-key}",
        (0, 13),
        "refers to nothing",
        "did you mean `{routing_key}`?",
    );
    said(
        "{json.a}",
        (0, 8),
        "refers to nothing",
        "did you mean `{json:/a}`?",
    );
    said(
        "{message_id}",
        (0, 12),
        "refers to nothing",
        "`{property.message_id}`?",
    );
    said(
        "{property.mesage_id}",
        (0, 20),
        "no message property",
        "`{property.message_id}`?",
    );
    said(
        "{property.zzz}",
        (0, 14),
        "no message property",
        "correlation_id",
    );
    said("{json:a.b}", (0, 10), "not a JSON pointer", "`{json:/a/b}`");
    said("{json:/a~b}", (0, 11), "`~` stands alone", "`~0`");
    said("{path.}", (0, 7), "no usable name", "`{path.NAME}`");
    said("{path.a b}", (0, 10), "no usable name", "without spaces");
    said("{header.é}", (0, 10), "name of a header", "letters");
    said("{}", (0, 2), "nothing between", "`{path.NAME}`");
    said(
        "{ \"a\": 1 }",
        (0, 10),
        "refers to nothing",
        "written twice",
    );
}

struct Nothing;

impl Values for Nothing {
    fn get(&self, _: &Source) -> Option<Cow<'_, str>> {
        None
    }
}

proptest! {
    #[test]
    fn it_never_panics(parts in prop::collection::vec((any::<String>(), any::<bool>()), 0..4)) {
        if let Err(error) = parse(&parts) {
            let (text, literal) = &parts[error.part];
            prop_assert!(error.offset < text.chars().count());
            // Only a `{` of the file can be closed too late, by what follows it.
            prop_assert!(!literal || error.message.contains("interpolated"));
        }
    }

    #[test]
    fn it_never_panics_on_braces(text in "[{}*:./~ a-]{0,20}(path\\.|json:|header\\.)?[{}a-]{0,8}") {
        if let Err(error) = written(&text) {
            prop_assert!(error.offset + error.length <= text.chars().count());
        }
    }

    #[test]
    fn doubled_braces_are_text(text in any::<String>()) {
        let escaped = text.replace('{', "{{").replace('}', "}}");
        let template = written(&escaped).unwrap();
        prop_assert_eq!(template.as_literal(), Some(text.as_str()));
    }

    #[test]
    fn what_comes_from_outside_stays_as_it_is(before in "[a-z{}.]{0,9}", text in "[a-z{}.:*-]{0,20}") {
        let text = format!("{before}{{path.x}}{text}");
        let parts = [("a.".to_owned(), false), (text.clone(), true), (".b".to_owned(), false)];
        let template = parse(&parts).unwrap();
        prop_assert_eq!(template.references().count(), 0);
        let rendered = template.render(&Nothing, Target::Text).unwrap();
        prop_assert_eq!(rendered, format!("a.{text}.b"));
    }
}
