//! `spool`, at the top and in a route.

use super::{
    super::super::{section::Section, settings::MIB, values},
    Context, Known,
};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Answer, Spool},
    raw::{Node, Value},
};

/// What is left out in the `spool` at the top.
const DEFAULT: Spool = Spool {
    max_bytes: 1024 * MIB,
    max_age: None,
};

/// The `spool` at the top: that of every accept route, if any, and what a route's own leaves out.
pub(in super::super) fn of_all(
    node: Option<&Node>,
    out: &mut Diagnostics,
) -> (Option<Spool>, Spool) {
    let spool = node.and_then(|node| read(node, "spool", &DEFAULT, out));
    let base = spool.clone().unwrap_or(DEFAULT);
    (spool, base)
}

pub(super) fn spool<'a>(
    section: &mut Section<'a>,
    known: &Known<'_>,
    context: &mut Context<'a, '_>,
) -> Option<Spool> {
    let node = section.get("spool", context.out);
    let (everywhere, base) = context.spool;
    let spool = match node {
        Some(node) => read(node, "routes.*.spool", base, context.out),
        None => everywhere.clone(),
    };
    let place = section
        .key("spool")
        .map_or(&context.name.place, |key| &key.place);
    let spool = spool?;
    if matches!(known.answer, Answer::Reply(_)) {
        if node.is_some() {
            let help = "a call that is held cannot wait for a broker that is away; remove `spool`, or `reply` for a route that answers 202";
            context.out.error(place, "`spool` beside `reply`", help);
        }
        return None;
    }
    if !known.persistent {
        let message = "what is spooled survives a restart here, but not one of the broker";
        let help = "leave `persistent: false` out, so that the message is as safe at the broker as in the spool";
        context.out.warning(place, message, help);
    }
    if let Some(limit) = known.body_limit.filter(|limit| *limit > spool.max_bytes) {
        let message = format!(
            "a body may have {limit} bytes here, and the spool only {}",
            spool.max_bytes
        );
        let help = "no such body could ever be spooled; raise `max_bytes`, or lower `body_limit`";
        context.out.error(place, message, help);
    }
    Some(spool)
}

fn read(node: &Node, path: &str, base: &Spool, out: &mut Diagnostics) -> Option<Spool> {
    if !matches!(node.value, Value::Map(_)) {
        let help = "write `true`, `false`, or a map such as `{ max_bytes: 1GiB }`";
        return values::switch(node, help, out)?.then(|| base.clone());
    }
    let mut section = Section::open(node, path, out)?;
    let max_bytes = section.get("max_bytes", out);
    let max_age = section.get("max_age", out);
    let spool = Spool {
        max_bytes: max_bytes
            .and_then(|node| values::positive_size(node, out))
            .unwrap_or(base.max_bytes),
        max_age: max_age
            .and_then(|node| values::positive_duration(node, out))
            .or(base.max_age),
    };
    section.finish(out);
    Some(spool)
}
