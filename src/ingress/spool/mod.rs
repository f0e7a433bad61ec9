//! The outbox of accept routes: what the broker does not take waits on disk, in order, and follows
//! when it does.
//!
//! A message goes to the broker directly only while nothing of its route waits. As long as something
//! does, it queues behind it: that is what keeps the order from one 202 to the next, from the
//! outage's first message to the last one that was spooled.
//!
//! Under load something would always wait, and the route would never publish directly again. So when
//! little is left, the drain closes the way into the line: it lets those finish who are at it, makes
//! newcomers wait while it publishes the rest, and opens the way with the line empty.

mod drain;
mod plan;

use std::{sync::Arc, time::Duration};

use lapin::types::ShortString;
use tokio::{
    sync::{Notify, RwLock},
    time::Instant,
};

pub use drain::Drain;
pub(super) use drain::Settings;

use super::{Ingress, call::Detached, inlet::Inlet, patience};
use crate::{
    amqp::{Gate, Outcome, Publisher},
    message::Publish,
    store::{Refused, Spool},
};

/// The way into a route's spool.
#[derive(Debug)]
pub(super) struct Outbox {
    spool: Spool,
    /// Tells the drain.
    news: Arc<Notify>,
    /// The way into the line: shared by those who append, closed by the drain for the line's end.
    way: Arc<RwLock<()>>,
}

/// What became of a message whose route has a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Published(Outcome),
    /// On disk, in line.
    Spooled,
    /// Not known to be in either place.
    Refused(Refused),
}

/// Publishes a message, or puts it into the spool where the broker does not take it. Once it has
/// begun it goes on to its end, also when the client has left.
pub(super) fn begin(
    ingress: &Arc<Ingress>,
    inlet: &Arc<Inlet>,
    outbox: &Arc<Outbox>,
    publish: Publish,
    id: &ShortString,
    timeout: Duration,
) -> Detached<Sent> {
    let begun = Begun {
        publisher: ingress.publisher.clone(),
        inlet: inlet.clone(),
        outbox: outbox.clone(),
        id: id.clone(),
    };
    Detached::new(&ingress.tracker, begun.send(publish, timeout))
}

/// Whether the spool takes what came to this. Unknown is among them: the copy has the same id, and
/// to promise nothing for a message that may be lost would be less than a spool is for.
///
/// Overloaded is not: then it is this process that cannot keep up, with a broker that takes what it
/// is sent. Spooling would add disk writes to the load, and turn a moment's peak into a backlog
/// behind which every later message must queue.
fn is_for_the_spool(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Unavailable | Outcome::Blocked | Outcome::Nacked | Outcome::Unknown => true,
        Outcome::Routed
        | Outcome::Unroutable
        | Outcome::TooLarge
        | Outcome::Refused(_)
        | Outcome::Overloaded => false,
    }
}

/// A message that is on its way to the broker or into the spool.
struct Begun {
    publisher: Publisher,
    inlet: Arc<Inlet>,
    outbox: Arc<Outbox>,
    id: ShortString,
}

// === impl Begun ===

impl Begun {
    async fn send(self, publish: Publish, timeout: Duration) -> Sent {
        if !self.outbox.is_empty() {
            // Bounded: a drain that cannot finish the line must not hold up those who would
            // lengthen it.
            let way = tokio::time::timeout(timeout, self.outbox.way.read()).await;
            if !self.outbox.is_empty() {
                let sent = self.put(publish, None).await;
                drop(way);
                return sent;
            }
        }
        if self.publisher.gate() != Gate::Open {
            return self.put(publish, None).await;
        }
        let copy = publish.clone();
        let begun = Instant::now();
        let outcome = self.publisher.publish(publish, timeout).await;
        // What was not even written is counted as spooled alone.
        if !matches!(outcome, Outcome::Unavailable | Outcome::Blocked) {
            self.inlet
                .published(&outcome, self.id.as_str(), begun.elapsed());
        }
        if is_for_the_spool(&outcome) {
            self.put(copy, Some(outcome)).await
        } else {
            Sent::Published(outcome)
        }
    }

    /// `outcome` is that of the publish which was tried before, if any.
    async fn put(&self, publish: Publish, outcome: Option<Outcome>) -> Sent {
        let Err(refused) = self.outbox.append(publish).await else {
            self.inlet.metrics.published("spooled");
            return Sent::Spooled;
        };
        self.inlet.metrics.published(match refused {
            Refused::Full => "spool_full",
            Refused::Unfit(_) => "refused",
            Refused::Unavailable(_) | Refused::Unknown(_) => "store_unavailable",
        });
        if refused != Refused::Full
            && let Some(unwarned) = self.inlet.may_warn()
        {
            tracing::warn!(
                route = %self.inlet.name,
                message_id = self.id.as_str(),
                reason = %refused,
                unwarned,
                "a message could not be spooled"
            );
        }
        match (outcome, refused) {
            // The one thing that its caller must know: it may exist.
            (Some(outcome @ Outcome::Unknown), _) => Sent::Published(outcome),
            // As without a spool.
            (Some(outcome), Refused::Unfit(_)) => Sent::Published(outcome),
            (_, refused) => Sent::Refused(refused),
        }
    }
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn new(spool: Spool) -> Self {
        Self {
            spool,
            news: Arc::default(),
            way: Arc::default(),
        }
    }

    /// Whether new messages may go to the broker directly. What the drain has published stays in
    /// line until it is confirmed *and* removed, so nothing passes it.
    fn is_empty(&self) -> bool {
        self.spool.is_empty()
    }

    async fn append(&self, publish: Publish) -> Result<(), Refused> {
        // What is written after the time is over is found by the drain without being told.
        patience::within(self.spool.append(publish)).await?;
        self.news.notify_one();
        Ok(())
    }
}
