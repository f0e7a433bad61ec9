//! One form for equal paths (RFC 3986 §6.2.2), and none for those that climb.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::router::Missed;

/// Brings a request's path into the form that patterns have.
///
/// # Errors
/// A broken percent-encoding, NUL, and dot segments, written out or encoded: what stands behind the
/// bridge must not be led out of its part of the tree.
pub(super) fn normalise(path: &str) -> Result<Cow<'_, str>, Missed> {
    let normal = if path.contains('%') {
        Cow::Owned(recode(path).ok_or(Missed::BadPath("the path has a broken percent-encoding"))?)
    } else {
        Cow::Borrowed(path)
    };
    let climbs = if normal.contains('%') {
        let decoded: Vec<u8> = percent_decode_str(&normal).collect();
        if decoded.contains(&0) {
            return Err(Missed::BadPath("the path has a NUL"));
        }
        has_dot_segment(&decoded)
    } else {
        has_dot_segment(normal.as_bytes())
    };
    if climbs {
        return Err(Missed::BadPath("the path has a dot segment"));
    }
    Ok(normal)
}

/// Brings a pattern's literal text into the form of [`normalise`], and its parameters' names into
/// numbers: two patterns that differ only in names are one to the routing tree.
pub(super) fn normalise_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    let mut count = 0;
    let mut rest = text;
    while let Some(found) = rest.find(['{', '}']) {
        let (literal, tail) = rest.split_at(found);
        encode_literal(literal, &mut pattern);
        if let Some((brace, after)) = tail
            .strip_prefix("{{")
            .map(|after| ("%7B", after))
            .or_else(|| tail.strip_prefix("}}").map(|after| ("%7D", after)))
        {
            // A request has its braces percent-encoded, as RFC 3986 wants it.
            pattern.push_str(brace);
            rest = after;
            continue;
        }
        let Some((name, after)) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'))
        else {
            rest = tail;
            break;
        };
        let star = if name.starts_with('*') { "*" } else { "" };
        pattern.push_str(&format!("{{{star}p{count}}}"));
        count += 1;
        rest = after;
    }
    encode_literal(rest, &mut pattern);
    pattern
}

/// `None` where a percent sign is not followed by two hexadecimal digits.
fn recode(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((literal, tail)) = rest.split_once('%') {
        normal.push_str(literal);
        let digits = tail.get(..2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if is_unreserved(byte) {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
        rest = tail.get(2..)?;
    }
    normal.push_str(rest);
    Some(normal)
}

fn encode_literal(literal: &str, pattern: &mut String) {
    let encoded = recode(literal).unwrap_or_else(|| literal.to_owned());
    for byte in encoded.bytes() {
        if byte.is_ascii_graphic() && !b"\"#<>?[]\\^`{}|".contains(&byte) {
            pattern.push(char::from(byte));
        } else {
            pattern.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| matches!(segment, b"." | b".."))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
