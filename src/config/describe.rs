//! A route in words: what it does and what it guarantees.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    config::model::{
        Accepted, AmqpTarget, Answer, Deliver, Failure, Flow, HttpTarget, Inbound, Limits, Park,
        Rate, Reply, Retry, Route, Unroutable, UrlTarget,
    },
    template::{Part, Template},
};

/// What people are shown of a route; no part of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: Arc<str>,
    /// `FILE:LINE:COLUMN`.
    pub place: String,
    /// `accept`, `request/reply` or `deliver`.
    pub flow: &'static str,
    pub from: String,
    pub to: String,
    /// One sentence.
    pub guarantee: String,
}

impl Described {
    pub fn new(route: &Route) -> Self {
        let (flow, from, to, guarantee) = match &route.flow {
            Flow::Inbound(inbound) => describe_inbound(inbound),
            Flow::Deliver(deliver) => (
                "deliver",
                format!("queue `{}`", deliver.source.queue),
                http_target(&deliver.target),
                deliver_guarantee(deliver),
            ),
        };
        Self {
            name: route.name.clone(),
            place: route.place.clone(),
            flow,
            from,
            to,
            guarantee,
        }
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            flow,
            from,
            to,
            guarantee,
            place: _,
        } = self;
        write!(f, "{name} ({flow}): {from} → {to}; {guarantee}")
    }
}

fn describe_inbound(inbound: &Inbound) -> (&'static str, String, String, String) {
    let method = inbound.source.method.as_ref();
    let method = method.map_or("*", |method| method.as_str());
    let from = format!("{method} {}", inbound.source.path.text);
    let to = amqp_target(&inbound.target);
    let (flow, mut guarantee) = match &inbound.answer {
        Answer::Accepted(accepted) => ("accept", accept_guarantee(inbound, accepted)),
        Answer::Reply(reply) => ("request/reply", reply_guarantee(reply)),
    };
    if let Some(idempotency) = &inbound.idempotency {
        let ttl = time(idempotency.ttl);
        guarantee += &format!("; repeated calls are answered once, within {ttl}");
    }
    guarantee += &limits(inbound.limits);
    (flow, from, to, guarantee)
}

fn accept_guarantee(inbound: &Inbound, accepted: &Accepted) -> String {
    let target = &inbound.target;
    let status = accepted.status.as_u16();
    let routed = match target.unroutable {
        Unroutable::Refuse => "confirmed the message and put it into a queue",
        Unroutable::Discard => "confirmed the message, which is discarded where no queue takes it",
    };
    let kept = if target.persistent {
        ""
    } else {
        "; it does not survive a restart of the broker"
    };
    let spooled = match &inbound.spool {
        Some(_) => ", or it is spooled on disk while the broker is away",
        None => "",
    };
    format!("{status} only after the broker has {routed}{spooled}{kept}")
}

fn reply_guarantee(reply: &Reply) -> String {
    let timeout = time(reply.timeout);
    let queue = match &reply.queue {
        Some(queue) => format!(" from the queue `{queue}`"),
        None => String::new(),
    };
    format!("the caller has the reply{queue} within {timeout}, or 504; nothing is tried twice")
}

fn deliver_guarantee(deliver: &Deliver) -> String {
    let Failure { retry, park } = &deliver.failure;
    let end = match park {
        Park::Queue { name } => format!("parked in `{name}`"),
        Park::Drop => "dropped".to_owned(),
        Park::Requeue => "put back into its queue".to_owned(),
    };
    let paused = match &deliver.circuit {
        Some(_) => "; paused while the backend is down",
        None => "",
    };
    let paced = match deliver.limits.rate {
        Some(rate) => format!("; {}", self::rate(rate)),
        None => String::new(),
    };
    match retry {
        None => format!("at least once; a message that fails is {end}{paused}{paced}"),
        Some(retry) => format!(
            "at least once; {}, then {end}{paused}{paced}",
            attempts(retry)
        ),
    }
}

/// What a route takes; a route towards a backend has its concurrency beside its queue.
fn limits(limits: Limits) -> String {
    let concurrency = limits
        .concurrency
        .map(|most| format!("{most} calls at once"));
    let parts = [concurrency, limits.rate.map(rate)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("; at most {}, 429 beyond", parts.join(" and ")),
    }
}

/// In the shortest time that a whole number of calls fits into, or nearly so.
fn rate(rate: Rate) -> String {
    let interval_ns = rate.interval.as_nanos().max(1);
    let units = [(1, "second"), (60, "minute"), (3600, "hour")];
    let calls = units.into_iter().find_map(|(seconds, unit)| {
        let unit_ns = Duration::from_secs(seconds).as_nanos();
        let calls = (unit_ns + interval_ns / 2) / interval_ns;
        let off_ns = unit_ns.abs_diff(calls * interval_ns);
        // Intervals are whole nanoseconds, so a third of a second is a little off.
        let near = off_ns <= calls && calls > 0;
        near.then(|| match calls {
            1 => format!("1 call per {unit}"),
            calls => format!("{calls} calls per {unit}"),
        })
    });
    calls.unwrap_or_else(|| format!("a call every {}", time(rate.interval)))
}

fn attempts(retry: &Retry) -> String {
    let delays = retry.schedule.delays();
    let each: Vec<String> = delays.iter().map(|delay| time(*delay)).collect();
    let each = each.join(", ");
    match retry.schedule.lasts() {
        Some(lasts) => format!("tried again after {each} and so on for {}", time(lasts)),
        None => format!("tried again after {each}"),
    }
}

fn amqp_target(target: &AmqpTarget) -> String {
    let key = template(&target.routing_key);
    match target.exchange.as_str() {
        "" => format!("queue `{key}`"),
        exchange => format!("exchange `{exchange}`, routing key `{key}`"),
    }
}

fn http_target(target: &HttpTarget) -> String {
    let method = target.method.as_ref();
    // Without a method of its own the route repeats the one that the message came with.
    let method = method.map_or("*", |method| method.as_str());
    let url = match &target.url {
        UrlTarget::Exact(url) => template(url),
        UrlTarget::Base(base) => base.to_string(),
    };
    format!("{method} {}", without_secrets(&url))
}

/// User, password and query of a URL may be secrets: they are left out.
fn without_secrets(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, "?…"),
        None => (url, ""),
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let scheme_end = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{scheme_end}{host}{path}{query}")
}

/// A template as it is written, without what came from a secret.
fn template(template: &Template) -> String {
    let part = |part: &Part| match part {
        Part::Literal(_) if template.is_secret() => "***".to_owned(),
        Part::Literal(text) => text.replace('{', "{{").replace('}', "}}"),
        Part::Value {
            source,
            verbatim,
            fallback,
        } => {
            let star = if *verbatim { "*" } else { "" };
            let fallback = fallback.as_ref();
            let fallback = fallback.map_or(String::new(), |text| format!(":-{text}"));
            format!("{{{star}{source}{fallback}}}")
        }
    };
    template.parts().iter().map(part).collect()
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
