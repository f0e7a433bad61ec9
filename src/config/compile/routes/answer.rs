//! `accepted` and `reply`: what the caller gets.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{
    super::{
        facts::Scope,
        section::{Section, named},
        values,
    },
    Context,
    headers::{self, Toward},
};
use crate::{
    config::{
        diagnostic::Diagnostics,
        model::{Accepted, Correlate, Reply},
        raw::{Node, Value},
    },
    template::Template,
};

const CORRELATES: [(&str, Correlate); 2] = [
    ("correlation_id", Correlate::CorrelationId),
    ("message_id", Correlate::MessageId),
];

pub(super) fn accepted<'a>(node: Option<&'a Node>, context: &mut Context<'a, '_>) -> Accepted {
    let mut accepted = Accepted {
        status: StatusCode::ACCEPTED,
        body: None,
        headers: HeaderMap::new(),
    };
    let Some(mut section) =
        node.and_then(|node| Section::open(node, "routes.*.accepted", context.out))
    else {
        return accepted;
    };
    let out = &mut *context.out;
    if let Some(node) = section.get("status", out)
        && let Some(code) = values::integer::<u16>(node, 100, 599, out)
    {
        match StatusCode::from_u16(code).ok().filter(StatusCode::is_success) {
            Some(status) => accepted.status = status,
            None => out.error(
                &node.place,
                format!("{code} does not say that the message was accepted"),
                "write a status from 200 to 299: it changes what success looks like, not what it means",
            ),
        }
    }
    let body = section
        .get("body", out)
        .and_then(|node| values::text(node, out));
    accepted.body = body.map(|text| Bytes::from(text.into_bytes()));
    for (key, node) in named(
        section.get("headers", out),
        "routes.*.accepted.headers",
        out,
    ) {
        let at_key = Node {
            place: key.place.clone(),
            value: Value::Null,
        };
        let name = values::header_name(&key.text.to_ascii_lowercase(), &at_key, out);
        let Some(text) = values::text(node, out) else {
            continue;
        };
        let Ok(value) = HeaderValue::from_str(&text) else {
            out.error(
                &node.place,
                "a header's value has visible characters only",
                "remove line breaks and control characters",
            );
            continue;
        };
        match name {
            Some(name) if crate::message::headers::is_hop_by_hop(name.as_str()) => out.error(
                &key.place,
                format!("`{name}` cannot be set"),
                "it describes one connection, not the answer (RFC 9110 §7.6.1); remove it",
            ),
            Some(name) => drop(accepted.headers.insert(name, value)),
            None => {}
        }
    }
    section.finish(out);
    accepted
}

pub(super) fn reply<'a>(node: &'a Node, context: &mut Context<'a, '_>) -> Reply {
    let mut reply = Reply {
        timeout: Duration::from_secs(10),
        queue: None,
        correlate: Correlate::CorrelationId,
        status: None,
        headers: Default::default(),
        waiting: 10_000,
    };
    let Some(mut section) = Section::open(node, "routes.*.reply", context.out) else {
        return reply;
    };
    let out = &mut *context.out;
    let timeout = section.get("timeout", out);
    reply.timeout = timeout
        .and_then(|node| values::positive_duration(node, out))
        .unwrap_or(reply.timeout);
    context.facts.reply_timeouts.push((
        reply.timeout,
        timeout.map_or(&node.place, |node| &node.place),
    ));
    if let Some(node) = section.get("queue", out)
        && let Some(queue) = values::name(node, out)
    {
        context
            .facts
            .reply_queues
            .push((queue.clone(), &node.place));
        reply.queue = Some(queue);
    }
    let correlate = section.get("correlate", out);
    if let Some(correlate) = correlate.and_then(|node| values::word(node, &CORRELATES, out)) {
        reply.correlate = correlate;
    }
    let scope = Scope::Reply;
    reply.status = section
        .get("status", out)
        .and_then(|node| status(node, &scope, out));
    if let Some(waiting) = section
        .get("waiting", out)
        .and_then(|node| values::integer(node, 1, 1_000_000, out))
    {
        reply.waiting = waiting;
    }
    let headers = section.get("headers", out);
    let (rules, templates) = headers::rules(headers, "routes.*.reply.headers", Toward::Other, out);
    for (node, template) in &templates {
        scope.check(node, template, out);
    }
    reply.headers = rules;
    section.finish(out);
    reply
}

/// A response's status, from its reply.
fn status(node: &Node, scope: &Scope, out: &mut Diagnostics) -> Option<Template> {
    let template = scope.template(node, out)?;
    let valid = template.as_literal().is_none_or(|text| {
        text.parse::<u16>()
            .is_ok_and(|status| (200..=599).contains(&status))
    });
    if !valid {
        let help =
            "write a number from 200 to 599, or a template such as `\"{header.result:-200}\"`";
        out.error(&node.place, "this is not the status of a response", help);
    }
    valid.then_some(template)
}
