//! Consuming: bounded deliveries, each settled exactly once.

mod channel;
mod settling;
mod unsettled;

use tokio::{sync::mpsc, time::Instant};

pub(super) use channel::{Ended, Subscription, consume};

use crate::message::Message;

/// A message and the right to settle it.
#[derive(Debug)]
pub struct Delivery {
    pub message: Message,
    pub settle: Settle,
    /// From then on the broker waits for its acknowledgement.
    pub received: Instant,
}

/// The right to settle one delivery. Dropping it requeues the message.
#[derive(Debug)]
#[must_use = "an unsettled delivery is requeued"]
pub struct Settle {
    tag: u64,
    verdicts: mpsc::Sender<(u64, Verdict)>,
    done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ack,
    Requeue,
}

// === impl Settle ===

impl Settle {
    #[cfg(test)]
    pub(super) fn new(tag: u64, verdicts: mpsc::Sender<(u64, Verdict)>) -> Self {
        let done = false;
        Self {
            tag,
            verdicts,
            done,
        }
    }

    /// Takes the message off its queue.
    pub fn ack(mut self) {
        self.send(Verdict::Ack);
    }

    /// Gives the message back to its queue.
    pub fn requeue(mut self) {
        self.send(Verdict::Requeue);
    }

    /// Whether the channel that delivered the message still lives; if not, the broker has
    /// requeued it already and nothing done here reaches it.
    pub fn is_live(&self) -> bool {
        !self.verdicts.is_closed()
    }

    /// Resolves when [`Settle::is_live`] is no longer true.
    pub async fn lost(&self) {
        self.verdicts.closed().await;
    }

    fn send(&mut self, verdict: Verdict) {
        self.done = true;
        // The channel holds as many verdicts as there can be unsettled deliveries, so it is never
        // full; when it is closed the session is over and the broker has requeued the message.
        self.verdicts.try_send((self.tag, verdict)).ok();
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if !self.done {
            self.send(Verdict::Requeue);
        }
    }
}
