//! What becomes of a message whose attempt failed: it waits in a retry queue, is parked, dropped
//! or given back, and is off its queue only when the broker has confirmed its copy.

use std::{
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use lapin::types::ShortString;
use tracing::warn;

use super::{
    copy::{self, History},
    forwarder::{Job, Worker},
    outcome::Reason,
    turn::Leave,
};
use crate::{
    amqp::Outcome,
    config::{model::Park, names::retry_queue},
    message::Publish,
    policy::Backoff,
};

/// How long one publish may wait for its confirm before it is repeated.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
const REPEAT_FIRST: Duration = Duration::from_millis(100);
const REPEAT_MAX: Duration = Duration::from_secs(10);

/// A failed attempt, with those before it.
#[derive(Debug)]
pub(super) struct Failed {
    /// Attempts made, this one counted.
    pub(super) attempts: u32,
    /// Since the first failure; zero when this is the first.
    pub(super) age: Duration,
    first_at: SystemTime,
    error: String,
    status: Option<StatusCode>,
}

impl Failed {
    pub(super) fn new(job: &Job, error: String, status: Option<StatusCode>) -> Self {
        let now = SystemTime::now();
        let first_at = job.message.first_failed_at().unwrap_or(now);
        Self {
            attempts: job.message.failures().saturating_add(1),
            age: now.duration_since(first_at).unwrap_or_default(),
            first_at,
            error,
            status,
        }
    }

    fn code(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }
}

impl Worker {
    /// Into the delay queue of this route and tier.
    pub(super) async fn retry(&self, job: Box<Job>, failed: Failed, delay: Duration) {
        warn!(
            route = &*self.name,
            queue = self.deliver.source.queue,
            message_id = job.id.as_str(),
            status = failed.code(),
            error = failed.error,
            attempt = failed.attempts,
            delay = %humantime::format_duration(delay),
            "delivery failed, will be tried again"
        );
        let to = retry_queue(&self.name, delay);
        self.move_to(job, &failed, to, None, "retried").await;
    }

    /// To where the route puts messages that it gives up on.
    pub(super) async fn park(&self, job: Box<Job>, failed: Failed, reason: Reason) {
        let park = &self.deliver.failure.park;
        warn!(
            route = &*self.name,
            queue = self.deliver.source.queue,
            message_id = job.id.as_str(),
            status = failed.code(),
            error = failed.error,
            attempt = failed.attempts,
            reason = reason.as_str(),
            becomes = match park {
                Park::Queue { .. } => "parked",
                Park::Drop => "dropped",
                Park::Requeue => "requeued",
            },
            "delivery failed for good"
        );
        match park {
            Park::Queue { name } => {
                let parked = Some((reason, SystemTime::now()));
                self.move_to(job, &failed, name.clone(), parked, "parked")
                    .await;
            }
            Park::Drop => {
                job.settle.ack();
                self.metrics.delivery("dropped");
            }
            Park::Requeue => {
                // Without the pause, the message would come back at once, for ever.
                tokio::time::sleep(self.requeue_pause()).await;
                job.settle.requeue();
                self.metrics.delivery("requeued");
            }
        }
    }

    /// A message whose call has not come, for one reason or another.
    pub(super) async fn leave(&self, job: Box<Job>, leave: Leave) {
        match leave {
            Leave::Held => self.put_back(job).await,
            Leave::Draining => {
                job.settle.requeue();
                self.metrics.delivery("requeued");
            }
            Leave::Lost => self.metrics.delivery("requeued"),
        }
    }

    /// To the end of its own queue, by a copy: a requeue would spend the queue's delivery limit, and
    /// the message would be the next to come again.
    pub(super) async fn put_back(&self, job: Box<Job>) {
        let queue = &self.deliver.source.queue;
        let Ok(to) = ShortString::try_new(queue.as_str()) else {
            // No such queue can be consumed from.
            return drop(job);
        };
        tracing::debug!(
            route = &*self.name,
            queue,
            message_id = job.id.as_str(),
            "message held for its call, put back to the end of its queue"
        );
        let publish = copy::returned(&job.message, &job.id, to);
        self.replace(job, publish, "returned").await;
    }

    /// Publishes a copy to the queue `to` and acknowledges the message once the copy is safe.
    async fn move_to(
        &self,
        job: Box<Job>,
        failed: &Failed,
        to: String,
        parked: Option<(Reason, SystemTime)>,
        outcome: &'static str,
    ) {
        let history = History {
            route: &self.name,
            queue: &self.deliver.source.queue,
            attempts: failed.attempts,
            first_failed_at: failed.first_at,
            error: &failed.error,
            status: failed.status,
            parked,
        };
        let length = to.len();
        let Ok(to) = ShortString::try_new(to) else {
            warn!(
                route = &*self.name,
                length, "the queue's name is over 255 bytes, the message goes back to its queue"
            );
            tokio::time::sleep(self.requeue_pause()).await;
            job.settle.requeue();
            return self.metrics.delivery("requeued");
        };
        let publish = copy::publish(&job.message, &job.id, to, &history);
        self.replace(job, publish, outcome).await;
    }

    /// Acknowledges the message once its copy is safe.
    async fn replace(&self, job: Box<Job>, publish: Publish, outcome: &'static str) {
        let give_up = |_: &Outcome| false;
        match self.publish(publish, &job, give_up).await {
            Some(_) => {
                job.settle.ack();
                self.metrics.delivery(outcome);
            }
            None => self.metrics.delivery("requeued"),
        }
    }

    /// Publishes until the broker has the message safe, or `enough` says that another outcome will
    /// do. It keeps its place among the route's concurrent deliveries meanwhile, so that the route
    /// slows down instead of turning messages round.
    ///
    /// `None` when the delivery's channel has gone: the broker has requeued the message.
    pub(super) async fn publish(
        &self,
        publish: Publish,
        job: &Job,
        enough: impl Fn(&Outcome) -> bool,
    ) -> Option<Outcome> {
        let mut pauses = Backoff::new(REPEAT_FIRST, REPEAT_MAX);
        loop {
            let to = publish.routing_key.clone();
            let begun = tokio::time::Instant::now();
            let outcome = self
                .publisher
                .publish(publish.clone(), CONFIRM_TIMEOUT)
                .await;
            let seconds = begun.elapsed().as_secs_f64();
            self.metrics.publish_seconds.observe(seconds);
            self.metrics.published(outcome.label());
            if outcome == Outcome::Routed || enough(&outcome) {
                return Some(outcome);
            }
            if !job.settle.is_live() {
                return None;
            }
            let pause = pauses.next_pause();
            warn!(
                route = &*self.name,
                message_id = job.id.as_str(),
                to = to.as_str(),
                outcome = outcome.label(),
                pause = %humantime::format_duration(pause),
                "publish failed, the message stays in its queue meanwhile"
            );
            tokio::time::sleep(pause).await;
            if !job.settle.is_live() {
                return None;
            }
        }
    }

    /// The backend works: the next message to be requeued does not pay for earlier ones.
    pub(super) fn went_well(&self) {
        if self.deliver.failure.park == Park::Requeue {
            self.pauses().reset();
        }
    }

    fn requeue_pause(&self) -> Duration {
        self.pauses().next_pause()
    }

    fn pauses(&self) -> std::sync::MutexGuard<'_, Backoff> {
        self.requeue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
