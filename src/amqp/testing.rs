//! A broker for tests of other folders: it does what the test says.

use std::{
    collections::VecDeque,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Delivery, Outcome, Publisher, Replies, Settle,
    consumer::Verdict,
    publisher::{Gate, Request, Unit},
};
use crate::message::{Message, Publish};

/// Longer than anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes what is published, one by one.
pub(crate) struct Broker {
    requests: mpsc::Receiver<Unit>,
    /// Taken from the queue as a part of a unit, and not yet asked for.
    ahead: VecDeque<Box<Request>>,
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
pub(crate) struct Taken(Box<Request>);

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
            let unit = within(PATIENCE, "a publish", self.requests.recv()).await;
            let unit = unit.expect("a publish");
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
        let verdict = within(PATIENCE, "a verdict", self.verdicts.recv()).await;
        let (tag, verdict) = verdict.expect("a verdict");
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

/// What `future` gives. The limit is one of real time: a timer would make the clock of a test whose
/// time is paused jump to it.
async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let (done, waiting) = sync_channel::<()>(0);
    let (late, too_late) = oneshot::channel();
    std::thread::spawn(move || {
        if waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // The test may have ended at this moment.
            late.send(()).ok();
        }
    });
    tokio::select! {
        biased;
        value = future => {
            drop(done);
            value
        }
        Ok(()) = too_late => panic!("not in time: {what}"),
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not in time: a publish")]
async fn what_never_comes_is_not_waited_for() {
    let (_publisher, mut broker) = broker(1);
    let limit = Duration::from_millis(10);
    within(limit, "a publish", broker.requests.recv()).await;
}

#[tokio::test(start_paused = true)]
async fn waiting_for_what_comes_does_not_move_a_paused_clock() {
    let begun = Instant::now();
    let pause = tokio::time::sleep(PATIENCE * 1000);
    within(PATIENCE, "the end of a pause", pause).await;
    assert!(begun.elapsed() >= PATIENCE * 1000);
}
