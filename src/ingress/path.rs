//! One form for equal paths (RFC 3986 §6.2.2), and none for those that climb.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::router::Missed;
use crate::config::paths::recode;

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

fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| matches!(segment, b"." | b".."))
}
