//! A broker for tests of other folders: it does what the test says.

use std::collections::VecDeque;

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    Delivery, Outcome, Publisher, Replies, Settle,
    consumer::Verdict,
    publisher::{Gate, Request, Unit},
};
use crate::message::{Message, Publish};

/// Takes what is published, one by one.
pub(crate) struct Broker {
    requests: mpsc::Receiver<Unit>,
    /// Taken from the queue as a part of a unit, and not yet asked for.
    ahead: VecDeque<Request>,
    gate: watch::Sender<Gate>,
}

/// A queue's consumer: hands messages over and hears what became of them.
pub(crate) struct Queue {
    deliveries: mpsc::Sender<Delivery>,
    settle: mpsc::Sender<(u64, Verdict)>,
    verdicts: mpsc::Receiver<(u64, Verdict)>,
    tag: u64,
}

/// A publish that waits for its outcome.
pub(crate) struct Taken(Request);

/// A publisher of which at most `limit` publishes are under way, and its broker.
pub(crate) fn broker(limit: usize) -> (Publisher, Broker) {
    let (gate, state) = watch::channel(Gate::Open);
    let (publisher, requests) = Publisher::new(limit, state);
    let ahead = VecDeque::new();
    let broker = Broker {
        requests,
        ahead,
        gate,
    };
    (publisher, broker)
}

/// A queue of which at most `capacity` messages are delivered ahead.
pub(crate) fn queue(capacity: usize) -> (Queue, mpsc::Receiver<Delivery>) {
    let (deliveries, receiver) = mpsc::channel(capacity);
    let (settle, verdicts) = mpsc::channel(capacity);
    let queue = Queue {
        deliveries,
        settle,
        verdicts,
        tag: 0,
    };
    (queue, receiver)
}

/// Hands a reply over as its consumer would.
pub(crate) fn reply(replies: &Replies, message: Message) {
    let unknown = prometheus::IntCounter::new("unknown", "unknown").unwrap();
    drop(replies.dispatch(message, &unknown));
}

impl Broker {
    pub(crate) async fn take(&mut self) -> Taken {
        while self.ahead.is_empty() {
            let unit = self.requests.recv().await.expect("a publish");
            self.ahead.extend(unit.into_requests());
        }
        Taken(self.ahead.pop_front().expect("not empty"))
    }

    /// What waits already.
    pub(crate) fn try_take(&mut self) -> Option<Taken> {
        if let Ok(unit) = self.requests.try_recv() {
            self.ahead.extend(unit.into_requests());
        }
        self.ahead.pop_front().map(Taken)
    }

    /// Whether nothing has been published.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.requests.is_empty() && self.ahead.is_empty()
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

impl Queue {
    /// Delivers the message; tags count from 1.
    pub(crate) async fn deliver(&mut self, message: Message) -> u64 {
        self.tag += 1;
        let settle = Settle::new(self.tag, self.settle.clone());
        let received = Instant::now();
        let delivery = Delivery {
            message,
            settle,
            received,
        };
        self.deliveries.send(delivery).await.expect("a consumer");
        self.tag
    }

    /// The next verdict: the tag, and whether it was acknowledged rather than requeued.
    pub(crate) async fn verdict(&mut self) -> (u64, bool) {
        let (tag, verdict) = self.verdicts.recv().await.expect("a verdict");
        (tag, verdict == Verdict::Ack)
    }

    /// Whether no verdict has come that nobody has seen.
    pub(crate) fn is_quiet(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// The channel dies, and with it the right to settle what it delivered.
    pub(crate) fn lose_channel(&mut self) {
        let (settle, verdicts) = mpsc::channel(self.deliveries.max_capacity());
        (self.settle, self.verdicts) = (settle, verdicts);
    }
}
