//! One route's deliveries: a bounded number at once, a tracked task each.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::Response;
use hyper::body::Incoming;
use lapin::types::ShortString;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    call::{self, Call},
    client::{self, CallError, Client, Deadline},
    delivered::Delivered,
    gate::{CircuitView, Gate, Pass},
    outcome::{Attempt, Decision, Reason, decide},
    settle::Failed,
    turn::Guards,
};
use crate::{
    amqp::{Delivery, Publisher, Settle},
    buffer::Buffer,
    config::model::{Deliver, Flow, Route},
    message::{Message, new_id},
    policy::Backoff,
    task,
    telemetry::RouteMetrics,
};

/// Pauses before a failed message goes back to its queue, on routes that have nowhere else.
const REQUEUE_FIRST: Duration = Duration::from_secs(1);
const REQUEUE_MAX: Duration = Duration::from_secs(30);

/// Probes that one message may make. Then it makes room for another: it may be the only one that the
/// backend fails for.
const PROBES: u32 = 3;

/// Takes the deliveries of one route and sees each to its end.
#[derive(Debug)]
pub struct Forwarder {
    deliveries: mpsc::Receiver<Delivery>,
    worker: Arc<Worker>,
}

/// What the tasks of one route share.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: Arc<str>,
    pub(super) deliver: Deliver,
    pub(super) publisher: Publisher,
    pub(super) metrics: RouteMetrics,
    /// The pause before the next requeue; it grows while nothing succeeds.
    pub(super) requeue: Mutex<Backoff>,
    pub(super) guards: Guards,
    pub(super) delivered: Delivered,
    client: Client,
    buffer: Buffer,
    /// Deliveries that were given up before their end was known.
    cut: AtomicUsize,
}

/// A message that this process has in its hands, under the id that every attempt presents.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) message: Message,
    pub(super) id: ShortString,
    pub(super) settle: Settle,
    pub(super) received: Instant,
}

/// A call that has been made.
pub(super) struct Called {
    pub(super) response: Result<Response<Incoming>, CallError>,
    /// The backend is known to be down, so this was no attempt of the message's own.
    pub(super) spared: bool,
}

/// The body of a response whose head has said all that matters.
struct Unread {
    body: Incoming,
    deadline: Deadline,
}

/// Counts a delivery as under way until it is dropped.
struct InFlight(prometheus::IntGauge);

// === impl Forwarder ===

impl Forwarder {
    /// `None` for a route that does not deliver.
    pub fn new(
        route: &Route,
        deliveries: mpsc::Receiver<Delivery>,
        publisher: Publisher,
        client: Client,
        metrics: RouteMetrics,
        buffer: Buffer,
    ) -> Option<Self> {
        let Flow::Deliver(deliver) = &route.flow else {
            return None;
        };
        let circuit = deliver.circuit.as_ref();
        let gate = circuit.map(|circuit| {
            let open = metrics.circuit_open.clone();
            Gate::new(route.name.clone(), circuit, open)
        });
        let worker = Worker {
            guards: Guards::new(deliver, gate),
            name: route.name.clone(),
            deliver: deliver.clone(),
            publisher,
            metrics,
            delivered: Delivered::new(deliver.source.prefetch),
            requeue: Mutex::new(Backoff::new(REQUEUE_FIRST, REQUEUE_MAX)),
            client,
            buffer,
            cut: AtomicUsize::new(0),
        };
        let worker = Arc::new(worker);
        Some(Self { deliveries, worker })
    }

    pub fn route(&self) -> Arc<str> {
        self.worker.name.clone()
    }

    /// The state of the route's circuit, from now on; `None` where it has none.
    pub fn circuit(&self) -> Option<CircuitView> {
        self.worker.guards.gate.as_ref().map(Gate::view)
    }

    /// Forwards until `drain` or until the deliveries end, then waits for those under way.
    ///
    /// `abort` ends these as well: what is not settled by then goes back to its queue, and the
    /// number of such deliveries is the answer.
    pub async fn run(mut self, drain: CancellationToken, abort: CancellationToken) -> usize {
        let slots = Arc::new(Semaphore::new(self.worker.deliver.source.concurrency));
        let tasks = TaskTracker::new();
        let stop = async {
            tokio::select! {
                () = drain.cancelled() => {}
                () = abort.cancelled() => {}
            }
        };
        tokio::pin!(stop);
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await.ok()?;
                Some((slot, self.deliveries.recv().await?))
            };
            let (slot, delivery) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => match next {
                    Some(next) => next,
                    None => break,
                },
            };
            let (worker, drain, abort) = (self.worker.clone(), drain.clone(), abort.clone());
            task::spawn(&tasks, "forward", async move {
                worker.run(delivery, drain, abort).await;
                drop(slot);
            });
        }
        self.deliveries.close();
        while let Ok(delivery) = self.deliveries.try_recv() {
            delivery.settle.requeue();
            self.worker.metrics.delivery("requeued");
        }
        tasks.close();
        tasks.wait().await;
        self.worker.cut.load(Ordering::Relaxed)
    }
}

// === impl Worker ===

impl Worker {
    async fn run(&self, delivery: Delivery, drain: CancellationToken, abort: CancellationToken) {
        // Its channel is gone: the broker has requeued the message and will deliver it again.
        if !delivery.settle.is_live() {
            return;
        }
        let Delivery {
            message,
            settle,
            received,
        } = delivery;
        let bytes = u64::try_from(message.body.len()).unwrap_or(u64::MAX);
        let _held = self.buffer.hold(bytes);
        let _in_flight = InFlight::new(&self.metrics);
        let id = message.properties.message_id().clone();
        let id = id
            .filter(|id| !id.as_str().is_empty())
            .unwrap_or_else(new_id);
        let job = Box::new(Job {
            message,
            id,
            settle,
            received,
        });
        let unread = tokio::select! {
            biased;
            // Dropping the job requeues it.
            () = abort.cancelled() => {
                self.cut.fetch_add(1, Ordering::Relaxed);
                return self.metrics.delivery("requeued");
            }
            unread = self.handle(job, &drain) => unread,
        };
        // The message is settled. Its place stays taken, so that a backend that does not end its
        // responses is not given more calls than the route allows.
        if let Some(unread) = unread {
            tokio::select! {
                biased;
                () = abort.cancelled() => {}
                () = self.discard(unread) => {}
            }
        }
    }

    async fn handle(&self, job: Box<Job>, drain: &CancellationToken) -> Option<Unread> {
        // Its acknowledgement was lost with the connection; a second call would be one too many.
        if job.message.redelivered && self.delivered.knows(&job.message) {
            job.settle.ack();
            self.metrics.delivery("suppressed");
            return None;
        }
        let reply_to = job.message.properties.reply_to().clone();
        match reply_to.filter(|queue| !queue.as_str().is_empty()) {
            Some(queue) => {
                Box::pin(self.answer(job, queue, drain)).await;
                None
            }
            None => self.forward(job, drain).await,
        }
    }

    /// Calls until an attempt counts, then does what follows from it.
    ///
    /// Whatever is not the way of nearly every message is boxed: the room for it would be taken, and
    /// moved about, for each message.
    async fn forward(&self, job: Box<Job>, drain: &CancellationToken) -> Option<Unread> {
        let mut probes = 0;
        loop {
            let call = match call::build(&self.deliver, &job.message, job.id.as_str()) {
                Ok(call) => call,
                Err(error) => {
                    let failed = Failed::new(&job, error.to_string(), None);
                    Box::pin(self.park(job, failed, Reason::Unforwardable)).await;
                    return None;
                }
            };
            let pass = match self.guards.turn(&job, drain).await {
                Ok(pass) => pass,
                Err(leave) => {
                    Box::pin(self.leave(job, leave)).await;
                    return None;
                }
            };
            probes += u32::from(pass.as_ref().is_some_and(Pass::is_probe));
            let deadline = Deadline::after(self.deliver.target.timeout);
            let begun = Instant::now();
            let called = self.call(call, deadline, pass).await;
            self.observe(begun);
            if !called.spared {
                return self.conclude(job, called.response, deadline).await;
            }
            if probes >= PROBES {
                Box::pin(self.put_back(job)).await;
                return None;
            }
        }
    }

    /// What follows from an attempt. The head of a response decides: the message need not wait for
    /// a body that nobody reads.
    async fn conclude(
        &self,
        job: Box<Job>,
        response: Result<Response<Incoming>, CallError>,
        deadline: Deadline,
    ) -> Option<Unread> {
        let (attempt, unread) = match response {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let attempt = Attempt::answered(head.status, &head.headers, SystemTime::now());
                (attempt, Some(Unread { body, deadline }))
            }
            Err(error) => (Attempt::Failed(error), None),
        };
        if attempt.is_success(&self.deliver.target.success) {
            self.delivered.remember(&job.message);
            job.settle.ack();
            self.metrics.delivery("delivered");
            self.went_well();
            return unread;
        }
        let failed = Failed::new(&job, attempt.describe(), attempt.status());
        match decide(&attempt, &self.deliver.failure, failed.attempts, failed.age) {
            Decision::Retry { delay } => Box::pin(self.retry(job, failed, delay)).await,
            Decision::Park { reason } => Box::pin(self.park(job, failed, reason)).await,
        }
        unread
    }

    async fn discard(&self, Unread { body, deadline }: Unread) {
        let limit = self.deliver.target.response_limit;
        client::discard(body, limit, deadline).await;
    }

    /// The one place from which backends are called. A call that is cut off leaves its place as the
    /// probe to the next.
    pub(super) async fn call(
        &self,
        Call { request, skipped }: Call,
        deadline: Deadline,
        pass: Option<Pass<'_>>,
    ) -> Called {
        self.metrics.skipped_headers.inc_by(skipped);
        let response = self.client.call(request, deadline).await;
        let outcome = response.as_ref().map(Response::status);
        let spared = pass.is_some_and(|pass| pass.record(outcome));
        Called { response, spared }
    }

    pub(super) fn observe(&self, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64();
        self.metrics.forward_seconds.observe(seconds);
    }
}

// === impl InFlight ===

impl InFlight {
    fn new(metrics: &RouteMetrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
