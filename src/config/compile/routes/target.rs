//! `to.amqp`: exchange and routing key, or a queue, and properties.

use std::time::Duration;

use super::{
    super::{
        facts::{Scope, Use},
        section::Section,
        values,
    },
    Context, duration_or, is_short,
};
use crate::{
    config::{
        model::{AmqpTarget, Unroutable},
        raw::Node,
    },
    template::Template,
};

const UNROUTABLES: [(&str, Unroutable); 2] = [
    ("refuse", Unroutable::Refuse),
    ("discard", Unroutable::Discard),
];

pub(super) fn target<'a>(
    node: &'a Node,
    scope: &Scope,
    context: &mut Context<'a, '_>,
) -> Option<AmqpTarget> {
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
