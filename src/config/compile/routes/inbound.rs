//! HTTP → AMQP: accept, or request/reply.

use std::time::Duration;

use super::{
    super::{facts::Scope, section::Section},
    Compiled, Context, answer,
    guards::{self, Known},
    headers::{self, Toward},
    source, target,
};
use crate::config::{
    model::{Answer, Flow, HeaderRules, HttpSource, Inbound},
    raw::Node,
};

pub(super) fn compile<'a>(
    section: &mut Section<'a>,
    from: &'a Node,
    to: &'a Node,
    context: &mut Context<'a, '_>,
) -> Compiled {
    let source = source::source(from, context);
    let scope = scope(source.as_ref());
    let target = target::target(to, &scope, context);
    let (headers, answer) = answer(section, false, &scope, context);
    let known = Known {
        scope: &scope,
        answer: &answer,
        body_limit: source.as_ref().map(|source| source.body_limit),
        confirm_timeout: target
            .as_ref()
            .map_or(Duration::ZERO, |target| target.confirm_timeout),
        persistent: target.as_ref().is_none_or(|target| target.persistent),
    };
    let guards = guards::inbound(section, &known, context);
    guards::no_circuit(section, context.out);
    Some(Flow::Inbound(Inbound {
        source: source?,
        target: target?,
        headers,
        answer,
        spool: guards.spool,
        idempotency: guards.idempotency,
        limits: guards.limits,
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
        Some(node) => Answer::Reply(answer::reply(node, context)),
        None => Answer::Accepted(answer::accepted(accepted, context)),
    };
    (rules, answer)
}
