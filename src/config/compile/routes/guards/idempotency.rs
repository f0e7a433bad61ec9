//! `idempotency`: how repeated calls are recognised, and how long.

use std::time::Duration;

use super::{
    super::super::{section::Section, settings::MIB, values},
    Known,
};
use crate::{
    config::{
        diagnostic::Diagnostics,
        model::{Answer, Idempotency},
        raw::{Node, Value},
    },
    template::{Part, Source, Template},
};

/// The header of the IETF's draft on idempotency keys.
const HEADER: &str = "idempotency-key";

pub(super) fn idempotency(
    section: &mut Section<'_>,
    known: &Known<'_>,
    out: &mut Diagnostics,
) -> Option<Idempotency> {
    let node = section.get("idempotency", out)?;
    let mut idempotency = Idempotency {
        key: Template::from_parts(vec![Part::Value {
            source: Source::Header(HEADER.into()),
            verbatim: false,
            fallback: None,
        }]),
        scope: None,
        required: false,
        ttl: Duration::from_secs(24 * 60 * 60),
        max_bytes: 256 * MIB,
    };
    if !matches!(node.value, Value::Map(_)) {
        let help = "write `true`, `false`, or a map such as `{ key: \"{json:/event/id}\" }`";
        return values::switch(node, help, out)?.then_some(idempotency);
    }
    let mut section = Section::open(node, "routes.*.idempotency", out)?;
    let key = section.get("key", out);
    idempotency.key = key
        .and_then(|node| self::key(node, known, out))
        .unwrap_or(idempotency.key);
    let scope = section.get("scope", out);
    idempotency.scope = scope.and_then(|node| known.scope.template(node, out));
    let required = section.get("required", out);
    idempotency.required = required
        .and_then(|node| values::boolean(node, out))
        .unwrap_or(idempotency.required);
    let ttl = section.get("ttl", out);
    if let Some((node, ttl)) =
        ttl.and_then(|node| Some((node, values::positive_duration(node, out)?)))
    {
        check_ttl(ttl, node, known, out);
        idempotency.ttl = ttl;
    }
    let max_bytes = section.get("max_bytes", out);
    idempotency.max_bytes = max_bytes
        .and_then(|node| values::positive_size(node, out))
        .unwrap_or(idempotency.max_bytes);
    section.finish(out);
    Some(idempotency)
}

/// A key that is never missing makes one call of all those that have none.
fn key(node: &Node, known: &Known<'_>, out: &mut Diagnostics) -> Option<Template> {
    let template = known.scope.template(node, out)?;
    let tells_apart = template
        .parts()
        .iter()
        .any(|part| matches!(part, Part::Value { fallback: None, .. }));
    if tells_apart {
        return Some(template);
    }
    let (message, help) = if template.as_literal().is_some() {
        (
            "every request would have the same key",
            "name what tells requests apart: `\"{header.idempotency-key}\"` or `\"{json:/event/id}\"`",
        )
    } else {
        (
            "requests without a key would all have the same one",
            "leave the fallback out: a request without a key is taken as one that is never repeated",
        )
    };
    out.error(&node.place, message, help);
    None
}

/// A key must not be forgotten while its first call may still be under way.
fn check_ttl(ttl: Duration, node: &Node, known: &Known<'_>, out: &mut Diagnostics) {
    let (what, timeout) = match known.answer {
        Answer::Reply(reply) if reply.timeout >= known.confirm_timeout => {
            ("reply.timeout", reply.timeout)
        }
        Answer::Reply(_) | Answer::Accepted(_) => ("confirm_timeout", known.confirm_timeout),
    };
    if ttl < timeout {
        let message = format!("a key is forgotten after {ttl:?}, a call may take {timeout:?}");
        let help = format!(
            "a repeat would not meet the call that it repeats; write more than `{what}`, such as `24h`"
        );
        out.error(&node.place, message, help);
    }
}
