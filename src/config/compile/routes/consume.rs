//! `from.amqp`: the queue, and how many of its messages are taken at once.

use super::{
    super::{section::Section, topology, values},
    Context,
    guards::Paced,
    is_short,
};
use crate::config::{
    diagnostic::{Diagnostic, Diagnostics, Severity},
    model::AmqpSource,
    raw::Node,
};

const CONCURRENCY: usize = 16;

pub(super) fn source<'a>(
    node: &'a Node,
    paced: &Paced<'a>,
    context: &mut Context<'a, '_>,
) -> Option<AmqpSource> {
    if is_short(node) {
        let queue = values::name(node, context.out)?;
        context
            .facts
            .consume(context.name, &queue, false, &node.place);
        context
            .facts
            .declare(&queue, topology::plain(context.queue_type), &node.place);
        return Some(source_of(queue, paced));
    }
    let mut section = Section::open(node, "routes.*.from.amqp", context.out)?;
    let queue_node = section.get("queue", context.out);
    let queue = queue_node.and_then(|node| values::name(node, context.out));
    if !section.has("queue") {
        context
            .out
            .error(section.place, "`amqp` needs `queue`", "write `queue: NAME`");
    }
    let bind = section
        .get("bind", context.out)
        .map(|node| topology::bindings(node, context.out));
    let shared = section
        .get("shared", context.out)
        .and_then(|node| values::boolean(node, context.out));
    let (concurrency, prefetch) = bounds(&mut section, paced, context.out);
    let mut declared = topology::plain(context.queue_type);
    declared.bind = bind.unwrap_or_default();
    let place = queue_node.map_or(section.place, |node| &node.place);
    if let Some(queue) = &queue {
        context
            .facts
            .consume(context.name, queue, shared.unwrap_or(false), place);
        context.facts.declare(
            queue,
            declared,
            section.key("bind").map_or(place, |key| &key.place),
        );
    }
    section.finish(context.out);
    Some(AmqpSource {
        queue: queue?,
        concurrency,
        prefetch,
    })
}

/// The queue with everything else by default.
pub(super) fn source_of(queue: String, paced: &Paced<'_>) -> AmqpSource {
    let (concurrency, prefetch) = by_default(paced.limits.concurrency, paced);
    AmqpSource {
        queue,
        concurrency,
        prefetch,
    }
}

/// The most messages of which none waits too long for its turn.
fn most_ahead(paced: &Paced<'_>) -> u16 {
    let Some(rate) = paced.limits.rate else {
        return u16::MAX;
    };
    let most = paced.turn.as_nanos() / rate.interval.as_nanos().max(1);
    u16::try_from(most).unwrap_or(u16::MAX).max(1)
}

/// Concurrency, and a prefetch that nobody has given.
fn by_default(asked: Option<usize>, paced: &Paced<'_>) -> (usize, u16) {
    let most = most_ahead(paced);
    let concurrency = asked.unwrap_or(CONCURRENCY).min(usize::from(most));
    let doubled = u16::try_from(concurrency.saturating_mul(2)).unwrap_or(u16::MAX);
    (concurrency, doubled.min(most))
}

fn bounds(section: &mut Section<'_>, paced: &Paced<'_>, out: &mut Diagnostics) -> (usize, u16) {
    let own = section.get("concurrency", out);
    if let (Some(own), Some(limits)) = (own, paced.concurrency) {
        let help = "say it once: remove one of the two";
        let message = "`limits.concurrency` beside `from.amqp.concurrency`";
        let mut diagnostic = Diagnostic::new(Severity::Error, limits, message, help);
        diagnostic
            .related
            .push((own.place.clone(), "the other".to_owned()));
        out.push(diagnostic);
    }
    let asked = own
        .and_then(|node| values::integer::<usize>(node, 1, 10_000, out))
        .or(paced.limits.concurrency);
    let (concurrency, prefetch) = by_default(asked, paced);
    let given = section.get("prefetch", out);
    let Some((node, given)) =
        given.and_then(|node| Some((node, values::integer::<u16>(node, 1, u16::MAX, out)?)))
    else {
        return (concurrency, prefetch);
    };
    let wanted = asked.unwrap_or(concurrency);
    if usize::from(given) < wanted {
        let message = format!(
            "a prefetch of {given} keeps {} of {wanted} forwards idle",
            wanted - usize::from(given)
        );
        let help = format!("write at least `prefetch: {wanted}`, or a lower `concurrency`");
        out.error(&node.place, message, help);
    }
    let most = most_ahead(paced);
    if given > most {
        let turn = humantime::format_duration(paced.turn);
        let message =
            format!("messages would wait for their turn for longer than {turn}, unacknowledged");
        let help = if wanted > usize::from(most) {
            format!("write `prefetch: {most}` and `concurrency: {most}`, or leave `prefetch` out")
        } else {
            format!("write `prefetch: {most}`, or leave it out")
        };
        let help = format!("{help}: the broker takes them back after 30m (its `consumer_timeout`)");
        out.warning(&node.place, message, help);
    }
    (wanted, given)
}
