//! Calls that are held until their reply comes.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use lapin::types::ShortString;
use tokio::time::Instant;

use super::{
    Ingress, accept, call::Detached, caller_ids::CallerIds, draft::Draft, inlet::Inlet, respond,
};
use crate::{
    amqp::{Outcome, Waiter},
    config::model::{Correlate, Reply},
    message::{self, Message, Publish},
    server::{Kind, Problem, Response, body::hold, problem::id_header},
};

/// How the wait for a reply ended.
enum Ended {
    Replied(Box<Message>),
    /// The deadline is over; whether the broker had confirmed the request.
    Late {
        confirmed: bool,
    },
    /// The request did not reach a queue.
    Failed(Kind),
}

/// A call whose message is on its way.
struct Begun {
    waiter: Waiter,
    publish: Detached<Outcome>,
    routing_key: ShortString,
    id: ShortString,
    own: CallerIds,
}

/// Publishes the message, waits for its reply until the route's deadline, and answers with it.
///
/// When the client leaves, this future is dropped and the waiter with it.
pub(super) async fn request_reply(
    ingress: &Arc<Ingress>,
    inlet: &Arc<Inlet>,
    settings: &Reply,
    draft: Box<Draft>,
    arrived: Instant,
) -> Result<Response, Problem> {
    let deadline = arrived + settings.timeout;
    let mut call = begin(ingress, inlet, settings, draft, deadline)?;
    match hold_call(&mut call.waiter, &mut call.publish, deadline).await {
        Ended::Replied(reply) => answer(ingress, inlet, settings, &call, reply),
        Ended::Late { confirmed: true } => Err(refused(
            &call.id,
            Kind::ReplyTimeout,
            "the request was published and confirmed",
        )),
        Ended::Late { confirmed: false } => Err(refused(
            &call.id,
            Kind::OutcomeUnknown,
            "neither a confirm nor a reply came in time; the message may exist",
        )),
        Ended::Failed(kind) => {
            call.waiter.withdraw();
            Err(respond::explain(
                kind,
                inlet.exchange.as_str(),
                call.routing_key.as_str(),
                call.id.as_str(),
            ))
        }
    }
}

/// Hands the message to the publisher. Not a part of the future above, which would keep room for the
/// message for as long as the call is held.
fn begin(
    ingress: &Arc<Ingress>,
    inlet: &Arc<Inlet>,
    settings: &Reply,
    draft: Box<Draft>,
    deadline: Instant,
) -> Result<Begun, Problem> {
    let Draft {
        mut publish,
        id,
        own,
    } = *draft;
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(refused(
            &id,
            Kind::ReplyTimeout,
            "the request took as long to come as the route waits for its reply",
        ));
    }
    let Some(waiter) = ingress.replies.register(&inlet.metrics, settings.waiting) else {
        return Err(refused(
            &id,
            Kind::Overloaded,
            "as many calls wait for replies as the route allows",
        ));
    };
    address(&mut publish, settings, &waiter, &inlet.reply_to, left);
    let routing_key = publish.routing_key.clone();
    let timeout = inlet.inbound.target.confirm_timeout.min(left);
    let publish = accept::begin(ingress, inlet, publish, &id, timeout);
    Ok(Begun {
        waiter,
        publish,
        routing_key,
        id,
        own,
    })
}

fn refused(id: &ShortString, kind: Kind, detail: &str) -> Problem {
    Problem::new(kind, detail).about(id.as_str())
}

/// Tells the worker where and under which id to reply, and the broker how long it matters.
fn address(
    publish: &mut Publish,
    settings: &Reply,
    waiter: &Waiter,
    reply_to: &ShortString,
    left: Duration,
) {
    let expiration = match publish.properties.expiration() {
        Some(own) => own.as_str().parse().unwrap_or(u128::MAX),
        None => u128::MAX,
    };
    // 0 would expire the message before a consumer that is ready can take it.
    let expiration = expiration.min(left.as_millis()).max(1).to_string();
    let properties = std::mem::take(&mut publish.properties)
        .with_reply_to(reply_to.clone())
        .with_expiration(ShortString::try_new(expiration).unwrap_or_default());
    publish.properties = match settings.correlate {
        Correlate::CorrelationId => properties.with_correlation_id(waiter.id().clone()),
        Correlate::MessageId => properties.with_message_id(waiter.id().clone()),
    };
}

/// Waits for the reply and for the publish at once: a reply proves what a confirm only promises,
/// and a publish that failed will have none.
async fn hold_call(
    waiter: &mut Waiter,
    publish: &mut Detached<Outcome>,
    deadline: Instant,
) -> Ended {
    let mut reply = pin!(waiter.wait(deadline));
    let mut published = None;
    loop {
        tokio::select! {
            biased;
            reply = reply.as_mut() => return match reply {
                Some(reply) => Ended::Replied(Box::new(reply)),
                None => Ended::Late { confirmed: published == Some(Outcome::Routed) },
            },
            outcome = &mut *publish, if published.is_none() => {
                match respond::refusal(&outcome) {
                    None | Some(Kind::OutcomeUnknown) => published = Some(outcome),
                    Some(kind) => return Ended::Failed(kind),
                }
            }
        }
    }
}

/// The reply as the response of the held call.
fn answer(
    ingress: &Ingress,
    inlet: &Inlet,
    settings: &Reply,
    Begun { id, own, .. }: &Begun,
    reply: Box<Message>,
) -> Result<Response, Problem> {
    let head = message::reply::response(&reply, settings).map_err(|error| {
        inlet.metrics.reply("bad");
        if let Some(unwarned) = inlet.may_warn() {
            let (route, message_id) = (&*inlet.name, id.as_str());
            tracing::warn!(route, message_id, %error, unwarned, "reply refused");
        }
        Problem::new(Kind::BadReply, error.to_string()).about(id.as_str())
    })?;
    inlet.metrics.skipped_headers.inc_by(head.skipped);
    let held = ingress.buffer.hold(reply.body.len() as u64);
    let body: Bytes = hold(reply.body, held);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = head.status;
    let headers = response.headers_mut();
    *headers = head.headers;
    own.put(headers);
    if let Some(id) = id_header(id.as_str()) {
        headers.insert("message-id", id);
    }
    Ok(response)
}
