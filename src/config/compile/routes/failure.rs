//! `retry` and `park`: what becomes of a message that could not be delivered.

use std::time::Duration;

use super::{
    super::{section::Section, values},
    Context,
};
use crate::{
    config::{
        diagnostic::Diagnostics,
        model::{Failure, Park, Retry},
        names,
        raw::{Node, Value},
    },
    policy::{Schedule, StatusSet},
};

pub(super) fn failure<'a>(section: &mut Section<'a>, context: &mut Context<'a, '_>) -> Failure {
    let given = section.get("retry", context.out);
    let is_none = given.is_some_and(
        |node| matches!(&node.value, Value::Scalar(scalar) if scalar.text() == "none"),
    );
    let retry =
        match given {
            Some(node) => retry(node, context),
            None => Schedule::new([1, 10, 60, 600].map(Duration::from_secs).into(), None).map(
                |schedule| Retry {
                    schedule,
                    on: StatusSet::retryable(),
                },
            ),
        };
    let park = section
        .get("park", context.out)
        .and_then(|node| park(node, context));
    let park = park.unwrap_or_else(|| Park::Queue {
        name: names::parked_queue(&context.name.text),
    });
    if let Some(key) = section.key("retry").filter(|_| is_none) {
        let help = "a backend that is away for a moment costs every message of that moment; leave `retry` out for the default delays";
        context
            .out
            .warning(&key.place, "a message is tried once only", help);
    }
    if let Some(key) = section.key("park") {
        let (message, help) = match park {
            Park::Queue { .. } => return Failure { retry, park },
            Park::Drop => (
                "messages that cannot be delivered are dropped",
                "leave `park` out to keep them in a parked queue",
            ),
            Park::Requeue => (
                "messages that cannot be delivered go round for ever",
                "leave `park` out: one bad message can stop the flow behind it",
            ),
        };
        context.out.warning(&key.place, message, help);
    }
    Failure { retry, park }
}

fn retry<'a>(node: &'a Node, context: &mut Context<'a, '_>) -> Option<Retry> {
    let out = &mut *context.out;
    let on = StatusSet::retryable();
    match &node.value {
        Value::Scalar(scalar) if scalar.text() == "none" => None,
        Value::Map(_) => {
            let mut section = Section::open(node, "routes.*.retry", out)?;
            let delays = section.get("delays", out);
            let lasts = section.get("for", out);
            let lasts_for = lasts.and_then(|node| values::positive_duration(node, out));
            let on = section
                .get("on", out)
                .and_then(|node| values::statuses(node, out))
                .unwrap_or(on);
            let delays = match delays {
                Some(node) => self::delays(node, &context.name.text, out),
                None => [1, 10, 60, 600].map(Duration::from_secs).into(),
            };
            if let (Some(lasts_for), Some(first), Some(node)) = (lasts_for, delays.first(), lasts)
                && lasts_for < *first
            {
                let help =
                    "no retry would ever be made; write a longer `for`, or a shorter first delay";
                out.error(&node.place, "`for` is shorter than the first delay", help);
            }
            section.finish(out);
            Schedule::new(delays, lasts_for).map(|schedule| Retry { schedule, on })
        }
        Value::Null | Value::Scalar(_) | Value::List(_) => {
            let delays = delays(node, &context.name.text, out);
            Schedule::new(delays, None).map(|schedule| Retry { schedule, on })
        }
    }
}

fn park<'a>(node: &'a Node, context: &mut Context<'a, '_>) -> Option<Park> {
    let name = values::text(node, context.out)?;
    match name.as_str() {
        "drop" => Some(Park::Drop),
        "requeue" => Some(Park::Requeue),
        "false" | "none" | "no" => {
            let help = "say what becomes of messages that cannot be delivered: `park: drop` or `park: requeue`, or a queue's name";
            context.out.error(
                &node.place,
                format!("`park: {name}` does not say what happens instead"),
                help,
            );
            None
        }
        _ => {
            let route = &context.name.text;
            context
                .facts
                .parked
                .push((name.clone(), &node.place, route));
            values::check_name(&name, node, context.out).then_some(Park::Queue { name })
        }
    }
}

fn delays(node: &Node, name: &str, out: &mut Diagnostics) -> Vec<Duration> {
    let delays: Vec<_> = values::items(node)
        .iter()
        .filter_map(|item| values::broker_duration(item, out))
        .collect();
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        out.error(
            &node.place,
            "an empty list of delays",
            "write `retry: none`, or some delays: `[1s, 10s]`",
        );
    }
    if !delays.is_sorted() {
        let help = "they are used in this order, and a message that keeps failing should wait longer each time; sort them";
        out.warning(
            &node.place,
            "a delay is shorter than the one before it",
            help,
        );
    }
    for delay in &delays {
        if names::retry_queue(name, *delay).len() > values::NAME_LIMIT {
            out.error(
                &node.place,
                "the name of a retry queue would pass 255 bytes",
                "shorten the route's name",
            );
        }
    }
    delays
}
