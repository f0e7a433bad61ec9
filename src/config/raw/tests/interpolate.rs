use super::{Around, messages, parsed, places, scalar};
use crate::config::{
    diagnostic::Diagnostics,
    raw::{Node, ScalarPart, interpolate},
};

fn around() -> Around {
    Around {
        vars: [
            ("HOST", "rabbit"),
            ("EMPTY", ""),
            ("EVIL", "x}: \"\n- ${HOST} {path.x}"),
        ]
        .into(),
        files: [("/pw", "s3cret\r\n"), ("/two", "a\n\n")].into(),
    }
}

fn interpolated(text: &str) -> (Node, Diagnostics) {
    let (node, mut diagnostics) = parsed(text);
    let mut node = node.unwrap();
    interpolate(&mut node, &around(), &mut diagnostics);
    (node, diagnostics)
}

/// The parts, as one letter for their kind and their text.
fn parts(value: &str) -> Vec<String> {
    let (node, diagnostics) = interpolated(&format!("a: {value}\n"));
    assert!(diagnostics.is_empty(), "{diagnostics}");
    let parts = scalar(&node, &["a"]).parts.iter().map(|part| {
        let kind = match part {
            ScalarPart::Text(_) => 't',
            ScalarPart::Interpolated(_) => 'i',
            ScalarPart::Secret(_) => 's',
        };
        format!("{kind} {}", part.as_str())
    });
    parts.collect()
}

#[test]
fn variables_stand_for_their_values() {
    assert_eq!(
        parts("amqp://${HOST}:5672"),
        ["t amqp://", "i rabbit", "t :5672"]
    );
    assert_eq!(parts("'${HOST}'"), ["i rabbit"]);
    assert_eq!(parts("\"${HOST}${HOST}\""), ["i rabbit", "i rabbit"]);
    assert_eq!(parts("plain"), ["t plain"]);
    assert_eq!(parts("''"), ["t "]);
}

#[test]
fn an_empty_or_unset_variable_takes_the_default() {
    assert_eq!(parts("${EMPTY:-d}"), ["i d"]);
    assert_eq!(parts("${UNSET:-amqp://g:g@h/%2f}"), ["i amqp://g:g@h/%2f"]);
    assert_eq!(parts("${UNSET:-}"), ["i "]);
    assert_eq!(parts("${UNSET:-{a}}b"), ["i {a}", "t b"]);
    assert_eq!(parts("${HOST:-d}"), ["i rabbit"]);
}

#[test]
fn a_value_cannot_break_out() {
    assert_eq!(parts("a ${EVIL}"), ["t a ", "i x}: \"\n- ${HOST} {path.x}"]);
}

#[test]
fn a_file_is_a_secret_without_its_final_newline() {
    assert_eq!(parts("${file:/pw}"), ["s s3cret"]);
    assert_eq!(parts("x${file:/two}"), ["t x", "s a\n"]);
}

#[test]
fn two_dollars_are_an_escape() {
    assert_eq!(parts("$${HOST} costs $5"), ["t ${HOST} costs $5"]);
}

#[test]
fn what_cannot_be_resolved_is_said_once_each_with_its_place() {
    let (_, mut diagnostics) = interpolated(
        "a:\n  b: x${NOPE}y${ALSO}\n  ${HOST}: c\n  d: '${1X} ${file:/no} ${HOST'\n  e: ${X:-${HOST}}\n",
    );
    assert_eq!(
        messages(&diagnostics),
        [
            "the variable `NOPE` is not set, or empty, and has no default",
            "the variable `ALSO` is not set, or empty, and has no default",
            "`1X` cannot be the name of a variable",
            "`/no` cannot be read: no such file",
            "this `${` is not closed",
            "a default cannot hold another `${`",
        ]
    );
    assert_eq!(
        places(&diagnostics),
        [
            "test.yaml:2:7",
            "test.yaml:2:15",
            "test.yaml:4:7",
            "test.yaml:4:13",
            "test.yaml:4:25",
            "test.yaml:5:6",
        ]
    );
    let (node, _) = parsed("a:\n  b: x${NOPE}y${ALSO}\n");
    // The value is not what was meant: that it does not fit either would be no news.
    let count = diagnostics.iter().count();
    let mut node = node.unwrap();
    interpolate(&mut node, &around(), &mut diagnostics);
    let place = &super::at(&node, &["a", "b"]).place;
    diagnostics.error(place, "not a URL", "");
    assert_eq!(diagnostics.iter().count(), count + 2);
}

#[test]
fn a_key_stays_as_it_is() {
    let (node, _) = interpolated("${HOST}: c\n");
    assert_eq!(scalar(&node, &["${HOST}"]).text(), "c");
}

#[test]
fn a_value_from_outside_is_never_shown() {
    let (node, mut diagnostics) = interpolated("url: ${HOST}\npw: ${file:/pw}\n");
    for key in ["url", "pw"] {
        let node = super::at(&node, &[key]);
        diagnostics.error(&node.place, "no", "");
        assert!(!format!("{node:?}").contains("s3cret"));
    }
    let shown = diagnostics.to_string();
    assert!(
        !shown.contains("rabbit") && !shown.contains("s3cret"),
        "{shown}"
    );
}
