//! Calls that are repeated: the first is carried out, and the others get its answer.
//!
//! A key is begun on the disk before the message is published, and the final answer is kept there
//! before the caller has it. Between the two the key belongs to one call of this process. When that
//! call is gone without a final answer, by a crash, a time limit or a client that left, a repeat
//! takes over and publishes again under the same message id.

mod guard;
mod identity;

use std::sync::Arc;

use tokio::time::Instant;

use self::guard::Claimed;
pub(super) use self::{guard::Guard, identity::Identity};
use super::{Ingress, call::Detached, draft::Draft, inlet::Inlet};
use crate::{
    config::model::Answer,
    server::{Problem, Response},
};

/// Carries a call out unless its key is known, and answers it.
///
/// On an accept route all of it goes on to its end when the client leaves. On a request/reply route
/// the call ends with its client, and only an answer that is there is still kept.
pub(super) async fn once(
    ingress: &Arc<Ingress>,
    inlet: &Arc<Inlet>,
    guard: &Arc<Guard>,
    identity: Identity,
    draft: Box<Draft>,
    arrived: Instant,
) -> Result<Response, Problem> {
    let call = Call {
        ingress: ingress.clone(),
        inlet: inlet.clone(),
        guard: guard.clone(),
        identity,
        arrived,
    };
    let carried_out = call.run(draft);
    match &inlet.inbound.answer {
        Answer::Accepted(_) => Detached::new(&ingress.tracker, carried_out).await,
        Answer::Reply(_) => Box::pin(carried_out).await,
    }
}

struct Call {
    ingress: Arc<Ingress>,
    inlet: Arc<Inlet>,
    guard: Arc<Guard>,
    identity: Identity,
    arrived: Instant,
}

impl Call {
    async fn run(self, mut draft: Box<Draft>) -> Result<Response, Problem> {
        let Self {
            ingress,
            inlet,
            guard,
            identity,
            arrived,
        } = self;
        let claim = match guard.claim(&inlet, identity, &draft.id, &draft.own).await? {
            Claimed::Mine(claim) => claim,
            Claimed::Answered(response) => return Ok(response),
        };
        draft.rename(claim.message_id().clone());
        let answered = ingress.flow(&inlet, draft, arrived).await;
        Detached::new(&ingress.tracker, claim.settle(inlet.clone(), answered)).await
    }
}
