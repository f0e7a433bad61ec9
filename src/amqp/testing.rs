//! A broker for tests of other folders: it does what the test says.

use tokio::sync::{mpsc, watch};

use super::{
    Outcome, Publish, Publisher, Replies,
    publisher::{Gate, Request},
};
use crate::message::Message;

/// Takes what is published, one by one.
pub(crate) struct Broker {
    requests: mpsc::Receiver<Request>,
    gate: watch::Sender<Gate>,
}

/// A publish that waits for its outcome.
pub(crate) struct Taken(Request);

/// A publisher of which at most `limit` publishes are under way, and its broker.
pub(crate) fn broker(limit: usize) -> (Publisher, Broker) {
    let (gate, state) = watch::channel(Gate::Open);
    let (publisher, requests) = Publisher::new(limit, state);
    (publisher, Broker { requests, gate })
}

/// Hands a reply over as its consumer would.
pub(crate) fn reply(replies: &Replies, message: Message) {
    let unknown = prometheus::IntCounter::new("unknown", "unknown").unwrap();
    drop(replies.dispatch(message, &unknown));
}

impl Broker {
    pub(crate) async fn take(&mut self) -> Taken {
        Taken(self.requests.recv().await.expect("a publish"))
    }

    /// What waits already.
    pub(crate) fn try_take(&mut self) -> Option<Taken> {
        self.requests.try_recv().ok().map(Taken)
    }

    /// Whether nothing has been published.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.requests.is_empty()
    }

    pub(crate) fn set(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }
}

impl Taken {
    pub(crate) fn publish(&self) -> &Publish {
        &self.0.publish
    }

    pub(crate) fn end(self, outcome: Outcome) {
        self.0.answer(outcome);
    }
}
