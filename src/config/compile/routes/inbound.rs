//! HTTP → AMQP: accept, or request/reply.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{
    super::{
        facts::{Scope, Use},
        section::{Section, named},
        values,
    },
    Compiled, Context, duration_or,
    headers::{self, Toward},
    is_short,
};
use crate::{
    config::{
        diagnostic::Diagnostics,
        model::{
            Accepted, AmqpTarget, Answer, Correlate, Flow, HeaderRules, HttpSource, Inbound,
            PathPattern, Reply, Unroutable,
        },
        raw::{Node, Place, Value},
    },
    template::Template,
};

const CORRELATES: [(&str, Correlate); 2] = [
    ("correlation_id", Correlate::CorrelationId),
    ("message_id", Correlate::MessageId),
];
const UNROUTABLES: [(&str, Unroutable); 2] = [
    ("refuse", Unroutable::Refuse),
    ("discard", Unroutable::Discard),
];

pub(super) fn compile<'a>(
    section: &mut Section<'a>,
    from: &'a Node,
    to: &'a Node,
    context: &mut Context<'a, '_>,
) -> Compiled {
    let source = source(from, context);
    let scope = scope(source.as_ref());
    let target = target(to, &scope, context);
    let (headers, answer) = answer(section, false, &scope, context);
    Some(Flow::Inbound(Inbound {
        source: source?,
        target: target?,
        headers,
        answer,
    }))
}

/// What templates of this route may name.
pub(super) fn scope(source: Option<&HttpSource>) -> Scope {
    // Without a valid path every parameter is taken as known: one error is enough.
    source.map_or(Scope::Anything, |source| {
        Scope::Request(source.path.parameters.clone())
    })
}

/// Headers and answer, which the first half of a `via` route has too.
pub(super) fn answer<'a>(
    section: &mut Section<'a>,
    via: bool,
    scope: &Scope,
    context: &mut Context<'a, '_>,
) -> (HeaderRules, Answer) {
    let node = section.get("headers", context.out);
    let (rules, templates) = headers::rules(node, "routes.*.headers", Toward::Other, context.out);
    for (node, template) in &templates {
        scope.check(node, template, context.out);
    }
    let reply = section.get("reply", context.out);
    let accepted = section.get("accepted", context.out);
    if let (Some(_), Some(accepted)) = (reply, accepted) {
        let help =
            "the reply is the answer; remove `accepted`, or `reply` for a route that answers 202";
        context
            .out
            .error(&accepted.place, "`accepted` beside `reply`", help);
    }
    for key in ["retry", "park"] {
        if let Some(key) = section.key(key).filter(|_| !via) {
            let message = format!("`{}` on a route that takes HTTP in", key.text);
            let help = "it belongs to the route that takes the message from its queue (`from: { amqp: … }`)";
            context.out.error(&key.place, message, help);
        }
        section.ask(key);
    }
    let answer = match reply {
        Some(node) => Answer::Reply(self::reply(node, context)),
        None => Answer::Accepted(self::accepted(accepted, context)),
    };
    (rules, answer)
}

// === from.http ===

pub(super) fn source<'a>(node: &'a Node, context: &mut Context<'a, '_>) -> Option<HttpSource> {
    let mut body_limit = context.body_limit;
    let (method, method_place, path, place) = if is_short(node) {
        let text = values::text(node, context.out)?;
        let Some((method, path)) = text.trim().split_once(char::is_whitespace) else {
            let help = format!(
                "write a method and a path: `\"POST {text}\"`, or `\"* {text}\"` for every method"
            );
            context.out.error(
                &node.place,
                format!("`{text}` is not a method and a path"),
                help,
            );
            return None;
        };
        let place = &node.place;
        (method.to_owned(), place, path.trim().to_owned(), place)
    } else {
        let mut section = Section::open(node, "routes.*.from.http", context.out)?;
        let method = section.get("method", context.out);
        let method_place = method.map_or(&node.place, |method| &method.place);
        let method = method.and_then(|node| values::text(node, context.out));
        let path = section.get("path", context.out);
        let limit = section.get("body_limit", context.out);
        if let Some(limit) = limit.and_then(|node| values::size(node, context.out)) {
            body_limit = limit;
        }
        let place = path.map_or(&node.place, |path| &path.place);
        let path = path.and_then(|node| values::text(node, context.out));
        if path.is_none() && !section.has("path") {
            context.out.error(
                section.place,
                "`http` needs `path`",
                "write for example `path: /orders`",
            );
        }
        section.finish(context.out);
        let method = method.unwrap_or_else(|| "*".to_owned());
        (method, method_place, path?, place)
    };
    let method = self::method(&method, method_place, context);
    let path = self::path(&path, place, context);
    let (method, path) = (method?, path?);
    context
        .facts
        .claim(method.clone(), &path, place, context.name);
    context.facts.body_limits.push((body_limit, place));
    Some(HttpSource {
        method,
        path,
        body_limit,
    })
}

/// `Some(None)` for every method.
fn method(text: &str, place: &Place, context: &mut Context<'_, '_>) -> Option<Option<Method>> {
    if text == "*" {
        return Some(None);
    }
    let method = values::method(text);
    if method.is_none() {
        let upper = text.to_ascii_uppercase();
        let help = if values::method(&upper).is_some() {
            format!("methods are in capital letters (RFC 9110 §9.1): `{upper}`")
        } else if upper == "CONNECT" {
            "it asks for a tunnel, which no queue can hold; choose another method".to_owned()
        } else {
            "write a method such as `POST`, or `*` for every method".to_owned()
        };
        context
            .out
            .error(place, format!("`{text}` is not a method"), help);
    }
    method.map(Some)
}

fn path(text: &str, place: &Place, context: &mut Context<'_, '_>) -> Option<PathPattern> {
    match parse_path(text) {
        Ok(path) => Some(path),
        Err((message, help)) => {
            context
                .out
                .error(place, format!("the path `{text}` {message}"), help);
            None
        }
    }
}

fn parse_path(text: &str) -> Result<PathPattern, (&'static str, String)> {
    if !text.starts_with('/') {
        return Err(("does not begin with `/`", format!("write `/{text}`")));
    }
    if text.contains(['?', '#']) || text.chars().any(char::is_whitespace) {
        return Err((
            "holds a `?`, a `#` or white space",
            "write the path alone; every query is taken".to_owned(),
        ));
    }
    let mut parameters: Vec<Arc<str>> = Vec::new();
    let mut wildcard = false;
    for segment in text.split('/').skip(1) {
        if wildcard {
            return Err((
                "goes on after its wildcard",
                "`{*name}` can only be the last segment".to_owned(),
            ));
        }
        if matches!(segment, "." | "..") {
            return Err((
                "has a dot segment",
                "no request can have one (RFC 3986 §5.2.4)".to_owned(),
            ));
        }
        let Some(name) = parameter(segment)? else {
            continue;
        };
        let (name, rest) = name
            .strip_prefix('*')
            .map_or((name, false), |name| (name, true));
        let valid = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if name.is_empty() || !valid {
            return Err((
                "names a parameter badly",
                "a parameter's name has letters, digits, `_` and `-`".to_owned(),
            ));
        }
        if parameters.iter().any(|known| **known == *name) {
            return Err((
                "names a parameter twice",
                format!("give the second `{{{name}}}` another name"),
            ));
        }
        wildcard = rest;
        parameters.push(name.into());
    }
    Ok(PathPattern {
        text: text.to_owned(),
        parameters,
        wildcard,
    })
}

/// The name in a segment that is one parameter; `None` for a literal segment.
fn parameter(segment: &str) -> Result<Option<&str>, (&'static str, String)> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    segment
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .filter(|inner| !inner.contains(['{', '}']))
        .map(Some)
        .ok_or_else(|| {
            (
                "has a parameter that is not a whole segment",
                "write `/{name}/`, nothing before or after the braces".to_owned(),
            )
        })
}

// === to.amqp ===

fn target<'a>(node: &'a Node, scope: &Scope, context: &mut Context<'a, '_>) -> Option<AmqpTarget> {
    if is_short(node) {
        let queue = queue(node, context)?;
        return Some(target_of(String::new(), Template::literal(&queue)));
    }
    let mut section = Section::open(node, "routes.*.to.amqp", context.out)?;
    let address = address(&mut section, scope, context);
    let known = address.is_some();
    // The rest is read in any case: a wrong key in it may be why there is no address.
    let (exchange, routing_key) = address.unwrap_or((String::new(), Template::literal("")));
    let mut target = target_of(exchange, routing_key);
    for (key, field) in [
        ("message_id", &mut target.message_id),
        ("type", &mut target.kind),
    ] {
        *field = section
            .get(key, context.out)
            .and_then(|node| scope.template(node, context.out));
    }
    let out = &mut *context.out;
    target.priority = section
        .get("priority", out)
        .and_then(|node| values::integer(node, 0, 255, out));
    target.expiration = section
        .get("expiration", out)
        .and_then(|node| values::broker_duration(node, out));
    if let Some(persistent) = section
        .get("persistent", out)
        .and_then(|node| values::boolean(node, out))
    {
        target.persistent = persistent;
        if let Some(key) = section.key("persistent").filter(|_| !persistent) {
            let message = "messages of this route do not survive a restart of the broker";
            out.warning(
                &key.place,
                message,
                "leave `persistent` out where a 202 must hold",
            );
        }
    }
    target.confirm_timeout =
        duration_or(&mut section, "confirm_timeout", target.confirm_timeout, out);
    let unroutable = section.get("unroutable", out);
    if let Some(unroutable) = unroutable.and_then(|node| values::word(node, &UNROUTABLES, out)) {
        target.unroutable = unroutable;
    }
    section.finish(out);
    known.then_some(target)
}

/// A queue that the route publishes to.
fn queue<'a>(node: &'a Node, context: &mut Context<'a, '_>) -> Option<String> {
    let name = values::name(node, context.out)?;
    if name.contains(['{', '}']) {
        let help = "only routing keys are templates: `{ exchange: \"\", routing_key: \"…\" }`, or better an exchange of your own";
        let message = format!("`{name}` is taken for a queue's name, braces included");
        context.out.error(&node.place, message, help);
        return None;
    }
    context.facts.uses.push(Use::queue(&name, &node.place));
    Some(name)
}

/// A target with everything by default.
pub(super) fn target_of(exchange: String, routing_key: Template) -> AmqpTarget {
    AmqpTarget {
        exchange,
        routing_key,
        message_id: None,
        kind: None,
        priority: None,
        expiration: None,
        persistent: true,
        confirm_timeout: Duration::from_secs(5),
        unroutable: Unroutable::Refuse,
        carry_path: false,
    }
}

/// Exchange and routing key, or a queue by the default exchange.
fn address<'a>(
    section: &mut Section<'a>,
    scope: &Scope,
    context: &mut Context<'a, '_>,
) -> Option<(String, Template)> {
    let [exchange, key, queue] =
        ["exchange", "routing_key", "queue"].map(|key| section.get(key, context.out));
    if let Some(queue) = queue {
        for other in ["exchange", "routing_key"]
            .into_iter()
            .filter_map(|key| section.key(key))
        {
            let message = format!("`{}` beside `queue`", other.text);
            let help = "`queue` goes through the default exchange; keep `queue`, or exchange and routing key";
            context.out.error(&other.place, message, help);
        }
        let name = self::queue(queue, context)?;
        return Some((String::new(), Template::literal(&name)));
    }
    let Some(exchange_node) = exchange else {
        let help = "write `{ exchange: NAME, routing_key: \"…\" }` or `{ queue: NAME }`";
        context
            .out
            .error(section.place, "`amqp` needs `exchange` or `queue`", help);
        return None;
    };
    let exchange = values::text(exchange_node, context.out)?;
    if !exchange.is_empty() {
        values::check_name(&exchange, exchange_node, context.out);
        context
            .facts
            .uses
            .push(Use::exchange(&exchange, &exchange_node.place));
    }
    let Some(key_node) = key else {
        if exchange.is_empty() {
            let help =
                "with the default exchange the routing key is the queue's name: `queue: NAME`";
            context.out.error(
                section.place,
                "the default exchange needs a `routing_key`",
                help,
            );
            return None;
        }
        return Some((exchange, Template::literal("")));
    };
    let template = scope.template(key_node, context.out)?;
    check_routing_key(&exchange, &template, key_node, context);
    Some((exchange, template))
}

fn check_routing_key<'a>(
    exchange: &str,
    template: &Template,
    node: &'a Node,
    context: &mut Context<'a, '_>,
) {
    let literal = template.as_literal();
    if let Some(key) = literal.filter(|key| key.len() > values::NAME_LIMIT) {
        let message = format!(
            "a routing key has at most 255 bytes, this one has {}",
            key.len()
        );
        context.out.error(&node.place, message, "shorten it");
    }
    match (exchange.is_empty(), literal) {
        (true, Some(queue)) => context.facts.uses.push(Use::queue(queue, &node.place)),
        (true, None) => {
            let message = "this template names queues that nothing checks";
            let help = "a request for a queue that does not exist is answered 502; an exchange with bindings says which exist";
            context.out.warning(&node.place, message, help);
        }
        (false, _) => {}
    }
}

// === accepted ===

fn accepted<'a>(node: Option<&'a Node>, context: &mut Context<'a, '_>) -> Accepted {
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

// === reply ===

fn reply<'a>(node: &'a Node, context: &mut Context<'a, '_>) -> Reply {
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
