//! Store and forward: success only once the broker has confirmed and routed the message.

use std::{sync::Arc, time::Duration};

use lapin::types::ShortString;
use tokio::time::Instant;

use super::{
    Ingress,
    call::Detached,
    draft::Draft,
    inlet::Inlet,
    respond::{self, Status},
    spool::{self, Sent},
};
use crate::{
    amqp::Outcome,
    config::model::Accepted,
    message::Publish,
    server::{Problem, Response},
};

/// Publishes the message and answers with what became of it.
pub(super) async fn accept(
    ingress: &Arc<Ingress>,
    inlet: &Arc<Inlet>,
    settings: &Accepted,
    draft: Box<Draft>,
) -> Result<Response, Problem> {
    let Draft { publish, id, .. } = *draft;
    let routing_key = publish.routing_key.clone();
    let timeout = inlet.inbound.target.confirm_timeout;
    let sent = match &inlet.outbox {
        Some(outbox) => spool::begin(ingress, inlet, outbox, publish, &id, timeout).await,
        None => Sent::Published(begin(ingress, inlet, publish, &id, timeout).await),
    };
    let outcome = match sent {
        Sent::Published(outcome) => outcome,
        Sent::Spooled => return Ok(respond::accepted(settings, id.as_str(), Status::Spooled)),
        Sent::Refused(refused) => return Err(respond::not_spooled(&refused, id.as_str())),
    };
    let Some(kind) = respond::refusal(&outcome) else {
        return Ok(respond::accepted(settings, id.as_str(), Status::Accepted));
    };
    if outcome == Outcome::Unroutable && inlet.discards() {
        return Ok(respond::accepted(settings, id.as_str(), Status::Discarded));
    }
    Err(respond::explain(
        kind,
        inlet.exchange.as_str(),
        routing_key.as_str(),
        id.as_str(),
    ))
}

/// Hands a message to the publisher. The outcome is counted also when the client has left.
pub(super) fn begin(
    ingress: &Arc<Ingress>,
    inlet: &Arc<Inlet>,
    publish: Publish,
    id: &ShortString,
    timeout: Duration,
) -> Detached<Outcome> {
    let (inlet, id, since) = (inlet.clone(), id.clone(), Instant::now());
    let begun = ingress.publisher.begin(publish, timeout);
    Detached::new(&ingress.tracker, async move {
        let outcome = match begun {
            Ok(begun) => begun.outcome().await,
            Err(outcome) => outcome,
        };
        inlet.published(&outcome, id.as_str(), since.elapsed());
        outcome
    })
}
