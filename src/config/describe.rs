//! A route in words: what it does and what it guarantees.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    config::model::{
        Accepted, AmqpTarget, Answer, Deliver, Failure, Flow, HttpTarget, Inbound, Park, Reply,
        Retry, Route, Unroutable, UrlTarget,
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
    match &inbound.answer {
        Answer::Accepted(accepted) => {
            let guarantee = accept_guarantee(&inbound.target, accepted);
            ("accept", from, to, guarantee)
        }
        Answer::Reply(reply) => ("request/reply", from, to, reply_guarantee(reply)),
    }
}

fn accept_guarantee(target: &AmqpTarget, accepted: &Accepted) -> String {
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
    format!("{status} only after the broker has {routed}{kept}")
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
    match retry {
        None => format!("at least once; a message that fails is {end}"),
        Some(retry) => format!("at least once; {}, then {end}", attempts(retry)),
    }
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
