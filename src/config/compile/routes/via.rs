//! HTTP → queue → HTTP: exactly an inbound and a deliver route on one queue.

use super::{
    super::{section::Section, topology, values},
    Context, consume, deliver, failure,
    guards::{self, Known, Paced},
    inbound, source, target,
};
use crate::{
    config::{
        model::{Deliver, Failure, Flow, HeaderRules, Inbound, Limits},
        raw::Node,
    },
    template::Template,
};

pub(super) fn compile<'a>(
    section: &mut Section<'a>,
    from: &'a Node,
    via: &'a Node,
    to: &'a Node,
    context: &mut Context<'a, '_>,
) -> Option<Vec<Flow>> {
    let source = source::source(from, context);
    let queue = values::name(via, context.out);
    if let Some(queue) = &queue {
        context
            .facts
            .consume(context.name, queue, false, &via.place);
        context
            .facts
            .declare(queue, topology::plain(context.queue_type), &via.place);
    }
    let scope = inbound::scope(source.as_ref());
    // The path parameters travel with the message, so the second half may name them too.
    let target = deliver::target(to, &scope.carried(), context);
    let replies = section.has("reply");
    let failure = if replies {
        answered(section, context)
    } else {
        failure::failure(section, context)
    };
    let mut first = target::target_of(
        String::new(),
        Template::literal(queue.as_deref().unwrap_or("")),
    );
    first.carry_path = true;
    let (headers, answer) = inbound::answer(section, true, &scope, context);
    let known = Known {
        scope: &scope,
        answer: &answer,
        body_limit: source.as_ref().map(|source| source.body_limit),
        confirm_timeout: first.confirm_timeout,
        persistent: first.persistent,
    };
    let guards = guards::inbound(section, &known, context);
    let success = target.as_ref().map(|target| &target.success);
    let circuit = guards::circuit(section, success, context.out);
    let inbound = Inbound {
        source: source?,
        target: first,
        headers,
        answer,
        spool: guards.spool,
        idempotency: guards.idempotency,
        limits: guards.limits,
    };
    let deliver = Deliver {
        // The limits are those of the calls that are taken.
        source: consume::source_of(queue?, &Paced::default()),
        target: target?,
        headers: HeaderRules::default(),
        reply_headers: HeaderRules::default(),
        failure,
        circuit,
        limits: Limits::default(),
    };
    Some(vec![Flow::Inbound(inbound), Flow::Deliver(deliver)])
}

/// A message that carries `reply_to` is answered, whatever the backend says: there is no retry.
fn answered<'a>(section: &mut Section<'a>, context: &mut Context<'a, '_>) -> Failure {
    if let Some(key) = section.key("retry") {
        let help = "a caller is waiting: the backend's answer goes back at once, whatever it is; remove `retry` or `reply`";
        context
            .out
            .error(&key.place, "`retry` beside `via` and `reply`", help);
    }
    section.ask("retry");
    Failure {
        retry: None,
        park: failure::failure(section, context).park,
    }
}
