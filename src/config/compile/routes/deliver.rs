//! AMQP → HTTP: deliver, retry, park.

use std::time::Duration;

use http::Uri;

use super::{
    super::{facts::Scope, section::Section, values},
    Compiled, Context, consume, duration_or, failure,
    guards::{self, Paced},
    headers::{self, Toward},
    is_short,
};
use crate::{
    config::{
        diagnostic::Diagnostics,
        model::{Deliver, Flow, HeaderRules, HttpTarget, UrlTarget},
        raw::Node,
    },
    policy::{StatusSet, patience},
    template::{Part, Template},
};

pub(super) fn compile<'a>(
    section: &mut Section<'a>,
    from: &'a Node,
    to: &'a Node,
    context: &mut Context<'a, '_>,
) -> Compiled {
    let mut paced = guards::deliver_limits(section, context.out);
    let scope = Scope::Message;
    // How much may be taken ahead depends on how long a call may take, so the target comes first; what
    // is wrong with it is still said in its place.
    let before = context.out.len();
    let target = target(to, &scope, context);
    let of_target = context.out.split_off(before);
    paced.turn = patience::turn(target.as_ref().map_or(Duration::ZERO, |to| to.timeout));
    let source = consume::source(from, &paced, context);
    context.out.append(of_target);
    check_turn(&paced, target.as_ref(), context.out);
    let node = section.get("headers", context.out);
    let (rules, templates) = headers::rules(node, "routes.*.headers", Toward::Backend, context.out);
    for (node, template) in &templates {
        scope.check(node, template, context.out);
    }
    let reply_headers = reply_headers(section, &scope, context);
    if let Some(key) = section.key("accepted") {
        let help = "it belongs to a route that takes HTTP in; remove it";
        context.out.error(
            &key.place,
            "`accepted` on a route that takes from a queue",
            help,
        );
    }
    section.ask("accepted");
    let failure = failure::failure(section, context);
    guards::nothing_inbound(section, context.out);
    let success = target.as_ref().map(|target| &target.success);
    let circuit = guards::circuit(section, success, context.out);
    Some(Flow::Deliver(Deliver {
        source: source?,
        target: target?,
        headers: rules,
        reply_headers,
        failure,
        circuit,
        limits: paced.limits,
    }))
}

/// A message is unacknowledged while it waits for its turn, and until its call has ended. It is
/// held for as long as both together are safe; then it goes back to the end of its queue.
fn check_turn(paced: &Paced<'_>, target: Option<&HttpTarget>, out: &mut Diagnostics) {
    let (Some(rate), Some(place), Some(_)) = (paced.limits.rate, paced.rate, target) else {
        return;
    };
    if rate.interval > paced.turn {
        let [interval, held] = [rate.interval, paced.turn].map(humantime::format_duration);
        let message = format!(
            "one call every {interval}: messages go back to the end of their queue while they wait for it"
        );
        let help = format!(
            "a message is held for {held} at most, as the broker takes it back after 30m (its `consumer_timeout`) and its call may take its `timeout`; write a higher rate to keep messages in order"
        );
        out.warning(place, message, help);
    }
}

/// `reply: { headers }`: what of a backend's response goes into a reply.
fn reply_headers<'a>(
    section: &mut Section<'a>,
    scope: &Scope,
    context: &mut Context<'a, '_>,
) -> HeaderRules {
    let Some(mut reply) = section
        .get("reply", context.out)
        .and_then(|node| Section::open(node, "routes.*.reply", context.out))
    else {
        return HeaderRules::default();
    };
    let headers = reply.get("headers", context.out);
    let (rules, templates) = headers::rules(
        headers,
        "routes.*.reply.headers",
        Toward::Other,
        context.out,
    );
    for (node, template) in &templates {
        scope.check(node, template, context.out);
    }
    for key in ["timeout", "queue", "correlate", "status", "waiting"] {
        if let Some(key) = reply.key(key) {
            let message = format!("`reply.{}` on a route that takes from a queue", key.text);
            let help = "a message that carries `reply_to` is answered without it; only `headers` applies here";
            context.out.error(&key.place, message, help);
        }
        reply.ask(key);
    }
    reply.finish(context.out);
    rules
}

// === to.http ===

pub(super) fn target<'a>(
    node: &'a Node,
    scope: &Scope,
    context: &mut Context<'a, '_>,
) -> Option<HttpTarget> {
    let out = &mut *context.out;
    if is_short(node) {
        return Some(target_of(url(node, scope, out)?));
    }
    let mut section = Section::open(node, "routes.*.to.http", out)?;
    let given = section.get("url", out);
    if !section.has("url") {
        out.error(
            section.place,
            "`http` needs `url`",
            "write `url: http://HOST:PORT/PATH`",
        );
    }
    let url = given.and_then(|node| url(node, scope, out));
    let method_node = section.get("method", out);
    let method = method_node.and_then(|node| {
        let text = values::text(node, out)?;
        let method = values::method(&text);
        if method.is_none() {
            let upper = text.to_ascii_uppercase();
            let help = match values::method(&upper) {
                Some(_) => format!("methods are in capital letters (RFC 9110 §9.1): `{upper}`"),
                None => "write one such as `POST`; without `method` it is the message's `http-method`, else POST".to_owned(),
            };
            out.error(&node.place, format!("`{text}` is not a method"), help);
        }
        method
    });
    let timeout = duration_or(&mut section, "timeout", Duration::from_secs(30), out);
    if let Some(key) = section
        .key("timeout")
        .filter(|_| timeout >= patience::CONSUMER_TIMEOUT)
    {
        let help = "the broker takes the delivery back after 30m (its `consumer_timeout`); write less than `30m`";
        out.error(&key.place, "a forward that may take 30m or longer", help);
    }
    let success = section
        .get("success", out)
        .and_then(|node| values::statuses(node, out));
    let response_limit = section
        .get("response_limit", out)
        .and_then(|node| values::size(node, out));
    section.finish(out);
    let target = target_of(url?);
    Some(HttpTarget {
        method,
        timeout,
        success: success.unwrap_or(target.success),
        response_limit: response_limit.unwrap_or(target.response_limit),
        url: target.url,
    })
}

fn target_of(url: UrlTarget) -> HttpTarget {
    HttpTarget {
        url,
        method: None,
        timeout: Duration::from_secs(30),
        success: StatusSet::success(),
        response_limit: 16 << 20,
    }
}

fn url(node: &Node, scope: &Scope, out: &mut Diagnostics) -> Option<UrlTarget> {
    let template = scope.template(node, out)?;
    let help =
        "write `http://HOST:PORT/PATH` or `https://…`; templates may stand in path and query";
    // Values may stand in path and query only: a host from a message would be anybody's choice.
    let head = match template.parts().first() {
        Some(Part::Literal(text)) => text.to_string(),
        _ => String::new(),
    };
    let probe: String = template
        .parts()
        .iter()
        .map(|part| match part {
            Part::Literal(text) => text.to_string(),
            Part::Value { .. } => "x".to_owned(),
        })
        .collect();
    let authority_end = head
        .find("://")
        .and_then(|at| head.get(at + 3..))
        .map(|rest| rest.contains('/'));
    let uri = probe.parse::<Uri>().ok();
    let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    let Some(uri) = uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty())) else {
        out.error(&node.place, "this is not an http or https URL", help);
        return None;
    };
    if template.as_literal().is_none() && authority_end != Some(true) {
        out.error(&node.place, "a template before the path of a URL", help);
        return None;
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        let help = "write `headers: { set: { authorization: \"Basic …\" } }` instead";
        out.error(&node.place, "user and password in a URL are not sent", help);
    }
    if probe.contains('#') {
        let help = "remove `#` and what follows it; within a path it is `%23`";
        out.error(&node.place, "a fragment of a URL is not sent", help);
    }
    // Only what `via` carries has its path from a request of this route.
    let carried = matches!(scope, Scope::Carried(_));
    Some(if carried && base(&template, &uri) {
        UrlTarget::Base(uri)
    } else {
        UrlTarget::Exact(template)
    })
}

/// Whether the URL is only scheme and authority.
fn base(template: &Template, uri: &Uri) -> bool {
    let bare = |text: &str| {
        text.split_once("://")
            .is_some_and(|(_, rest)| !rest.contains(['/', '?']))
    };
    template.as_literal().is_some_and(bare) && uri.query().is_none()
}
