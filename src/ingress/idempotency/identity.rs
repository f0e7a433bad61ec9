//! By what a repeated call is known: its key, and a fingerprint of what was sent with it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, request::Parts};
use ring::digest::{Context, SHA256};

use super::super::draft::Received;
use crate::{
    config::model::Idempotency,
    message::RequestValues,
    store::Digest,
    template::{Part, RenderError, Source, Target, Template},
};

/// The most bytes of a key.
const KEY_LIMIT: usize = 255;

/// What tells a call from others. Both are digests: a key or a scope may be a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ingress) struct Identity {
    /// Of scope and key.
    pub(super) key: Digest,
    /// Of method, path with query, and body.
    pub(super) fingerprint: Digest,
}

/// Where a route's key is found in a request.
#[derive(Debug)]
pub(super) struct Reader {
    key: Template,
    scope: Option<Template>,
    /// The key is one value, which may be a quoted string.
    quotable: bool,
    /// The headers that the key refers to.
    headers: Vec<HeaderName>,
}

/// Why a request's key is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BadKey {
    #[error("the header `{0}` is there more than once")]
    Repeated(HeaderName),
    #[error("the header `{0}` is not UTF-8 text")]
    NotText(HeaderName),
    #[error("the idempotency key is {0} bytes long; the limit is 255")]
    TooLong(usize),
    #[error("the idempotency key has a control character")]
    Control,
    #[error(
        "the idempotency key begins with a quotation mark but is no quoted string (RFC 8941, 3.3.3)"
    )]
    Quoting,
    #[error("the idempotency scope cannot be built: {0}")]
    Scope(RenderError),
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(settings: &Idempotency) -> Self {
        let parts = settings.key.parts();
        let header = |part: &Part| match part {
            Part::Value {
                source: Source::Header(name),
                ..
            } => HeaderName::from_bytes(name.as_bytes()).ok(),
            _ => None,
        };
        Self {
            quotable: matches!(parts, [Part::Value { .. }]),
            headers: parts.iter().filter_map(header).collect(),
            key: settings.key.clone(),
            scope: settings.scope.clone(),
        }
    }

    /// What a request without a key lacks.
    pub(super) fn what(&self) -> String {
        match self.key.parts() {
            [
                Part::Value {
                    source: Source::Header(name),
                    ..
                },
            ] => format!("the header `{name}`"),
            parts => {
                let sources = parts.iter().filter_map(|part| match part {
                    Part::Value {
                        source,
                        fallback: None,
                        ..
                    } => Some(format!("`{source}`")),
                    _ => None,
                });
                sources.collect::<Vec<_>>().join(" and ")
            }
        }
    }

    /// The request's identity; `None` where it has no key.
    ///
    /// # Errors
    /// A key that has no single meaning or is too long, or a scope with a value missing: callers
    /// whose scope is not known must not share one.
    pub(super) fn read(&self, request: &Received) -> Result<Option<Identity>, BadKey> {
        for name in &self.headers {
            check_line(name, &request.parts.headers)?;
        }
        let values = RequestValues::new(&request.parts, &request.parameters, &request.body);
        let Ok(text) = self.key.render(&values, Target::Text) else {
            return Ok(None);
        };
        let Some(key) = parse(&text, self.quotable)? else {
            return Ok(None);
        };
        let scope = match &self.scope {
            Some(scope) => scope.render(&values, Target::Text).map_err(BadKey::Scope)?,
            None => String::new(),
        };
        Ok(Some(Identity {
            key: digest(&[scope.as_bytes(), key.as_bytes()]),
            fingerprint: fingerprint(&request.parts, &request.body),
        }))
    }
}

/// A header that is there must be one text: taken for absent, it would leave the caller
/// unprotected without a word.
fn check_line(name: &HeaderName, headers: &HeaderMap) -> Result<(), BadKey> {
    let mut lines = headers.get_all(name).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(BadKey::Repeated(name.clone()));
    }
    match first.map(|line| std::str::from_utf8(line.as_bytes())) {
        Some(Err(_)) => Err(BadKey::NotText(name.clone())),
        _ => Ok(()),
    }
}

/// The key that `text` stands for: a bare text for itself, and, where `quotable`, a quoted string
/// for what is in it. `None` where nothing is left.
fn parse(text: &str, quotable: bool) -> Result<Option<Cow<'_, str>>, BadKey> {
    let text = text.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(rest) if quotable => Cow::Owned(unquote(rest).ok_or(BadKey::Quoting)?),
        _ => Cow::Borrowed(text),
    };
    if key.is_empty() {
        return Ok(None);
    }
    if key.len() > KEY_LIMIT {
        return Err(BadKey::TooLong(key.len()));
    }
    if key.chars().any(char::is_control) {
        return Err(BadKey::Control);
    }
    Ok(Some(key))
}

/// The string whose opening quotation mark stands before `rest` (RFC 8941, 4.2.5). Parameters
/// after it are refused: the header's draft defines none.
fn unquote(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => text.push(escaped),
                _ => return None,
            },
            plain @ ' '..='~' => text.push(plain),
            _ => return None,
        }
    }
    characters.next().is_none().then_some(text)
}

fn fingerprint(parts: &Parts, body: &[u8]) -> Digest {
    let target = parts
        .uri
        .path_and_query()
        .map_or("", http::uri::PathAndQuery::as_str);
    digest(&[parts.method.as_str().as_bytes(), target.as_bytes(), body])
}

/// SHA-256 of all pieces, each after its length: no two lists of pieces run together.
fn digest(pieces: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for piece in pieces {
        context.update(&(piece.len() as u64).to_be_bytes());
        context.update(piece);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Result<Option<String>, BadKey> {
        parse(text, true).map(|key| key.map(Cow::into_owned))
    }

    #[test]
    fn a_quoted_key_is_the_same_as_a_bare_one() {
        let found = |text| key(text).unwrap().unwrap();
        assert_eq!(found("8e03978e"), "8e03978e");
        assert_eq!(found(r#""8e03978e""#), "8e03978e");
        assert_eq!(found(r#"  "8e03978e" "#), "8e03978e");
        assert_eq!(found(r#""a\"b\\c""#), r#"a"b\c"#);
        assert_eq!(found(r#"a"b"#), r#"a"b"#);
        assert_eq!(found("schlüssel"), "schlüssel");
    }

    #[test]
    fn nothing_is_no_key() {
        for text in ["", " ", "\t ", r#""""#] {
            assert_eq!(key(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            r#"""#,
            r#""a"#,
            r#""a"b"#,
            r#""a"; b=1"#,
            r#""a\b""#,
            r#""a\"#,
            "\"a\u{7f}\"",
            "\"ä\"",
        ] {
            assert_eq!(key(text), Err(BadKey::Quoting), "{text:?}");
        }
        for text in ["a\nb", "a\0", "\u{7f}", "a\u{85}b"] {
            assert_eq!(key(text), Err(BadKey::Control), "{text:?}");
        }
        assert_eq!(key(&"x".repeat(256)), Err(BadKey::TooLong(256)));
        assert_eq!(key(&"é".repeat(128)), Err(BadKey::TooLong(256)));
        assert!(key(&"x".repeat(255)).unwrap().is_some());
        assert!(
            key(&format!("\"{}\"", "\\\\".repeat(255)))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn quotation_marks_within_a_longer_key_are_a_part_of_it() {
        let found = parse(r#""a":eu"#, false).unwrap().unwrap();
        assert_eq!(found, r#""a":eu"#);
    }

    proptest! {
        /// Every text of RFC 8941's characters survives being quoted.
        #[test]
        fn quoting_is_undone(text in "[ -~]{1,127}") {
            let escaped = text.replace('\\', r"\\").replace('"', r#"\""#);
            prop_assert_eq!(key(&format!("\"{escaped}\"")), Ok(Some(text)));
        }

        #[test]
        fn no_text_breaks_the_parser(text in any::<String>(), quotable: bool) {
            if let Ok(Some(key)) = parse(&text, quotable) {
                prop_assert!((1..=KEY_LIMIT).contains(&key.len()));
                prop_assert!(!key.chars().any(char::is_control));
            }
        }

        #[test]
        fn other_pieces_have_another_digest(
            left in prop::collection::vec(prop::collection::vec(0_u8..3, 0..4), 0..4),
            right in prop::collection::vec(prop::collection::vec(0_u8..3, 0..4), 0..4),
        ) {
            let of = |pieces: &[Vec<u8>]| digest(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(of(&left) == of(&right), left == right);
        }
    }

    fn reader(key: &str, scope: Option<&str>) -> Reader {
        let parsed = |text: &str| crate::template::parse(&[(text.to_owned(), false)]).unwrap();
        Reader::new(&Idempotency {
            key: parsed(key),
            scope: scope.map(parsed),
            required: false,
            ttl: std::time::Duration::from_secs(1),
            max_bytes: 1,
        })
    }

    fn post(headers: &[(&str, &[u8])], body: &'static str) -> Received {
        let mut request = Request::post("/orders/eu?x=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Received {
            parts,
            parameters: vec![("region".into(), "eu".to_owned())],
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    const HEADER: &str = "{header.idempotency-key}";

    #[test]
    fn the_key_may_be_in_a_header_or_in_the_body() {
        let header = reader(HEADER, None);
        let request = post(&[("idempotency-key", b"\"k\"")], r#"{"id":"k"}"#);
        let found = header.read(&request).unwrap().unwrap();
        assert_eq!(header.read(&post(&[], "")), Ok(None));
        let body = reader("{json:/id}", None);
        assert_eq!(body.read(&request).unwrap().unwrap(), found);
        assert_eq!(body.read(&post(&[], "no JSON")), Ok(None));
    }

    #[test]
    fn a_header_must_be_one_text() {
        let header = reader(HEADER, None);
        let name = HeaderName::from_static("idempotency-key");
        let twice = post(&[("idempotency-key", b"a"), ("idempotency-key", b"a")], "");
        assert_eq!(header.read(&twice), Err(BadKey::Repeated(name.clone())));
        let binary = post(&[("idempotency-key", b"\xff")], "");
        assert_eq!(header.read(&binary), Err(BadKey::NotText(name)));
    }

    #[test]
    fn scopes_keep_equal_keys_apart() {
        let scoped = reader(HEADER, Some("{header.x-tenant}"));
        let of = |tenant| {
            scoped.read(&post(
                &[("idempotency-key", b"k"), ("x-tenant", tenant)],
                "",
            ))
        };
        let (one, other) = (of(b"one").unwrap().unwrap(), of(b"two").unwrap().unwrap());
        assert_ne!(one.key, other.key);
        assert_eq!(one.fingerprint, other.fingerprint);
        let missing = scoped.read(&post(&[("idempotency-key", b"k")], ""));
        assert!(matches!(missing, Err(BadKey::Scope(_))), "{missing:?}");
    }

    #[test]
    fn the_fingerprint_sees_method_target_and_body() {
        let header = reader(HEADER, None);
        let key = [("idempotency-key", b"k".as_slice())];
        let of = |request: &Received| header.read(request).unwrap().unwrap().fingerprint;
        let first = post(&key, "a");
        let same = post(&[("idempotency-key", b"k"), ("x-attempt", b"2")], "a");
        assert_eq!(of(&first), of(&same));
        let mut put = post(&key, "a");
        put.parts.method = http::Method::PUT;
        let mut elsewhere = post(&key, "a");
        elsewhere.parts.uri = "/orders/eu?x=2".parse().unwrap();
        for other in [post(&key, "b"), put, elsewhere] {
            assert_ne!(of(&first), of(&other));
        }
    }
}
