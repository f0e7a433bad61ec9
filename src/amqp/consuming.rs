//! The consume connection: topology, consumers, and the counts of parked messages.

use std::{sync::Arc, time::Duration};

use lapin::{
    Connection,
    options::QueueDeclareOptions,
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::task::TaskTracker;

use super::{
    Status,
    channels::{self, Channels},
    connect::Role,
    consumer::{Ended, Subscription, consume},
    error::{Error, bounded},
    link::Link,
    status::consumer_part,
    topology::Topology,
};
use crate::{policy::Backoff, telemetry::Metrics};

const PARKED_EVERY: Duration = Duration::from_secs(15);
const COUNT_LIMIT: Duration = Duration::from_secs(5);
/// Unroutable messages may be a daily matter; looking for everything because of them must not be.
const DOUBT_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Consuming {
    pub link: Link,
    pub status: Status,
    pub metrics: Metrics,
    pub topology: Arc<Topology>,
    pub subscriptions: Vec<Subscription>,
    /// Queues whose messages are counted now and then.
    pub parked: Vec<String>,
    /// Tracks the consumers, so that a shutdown can wait for the last settlement.
    pub(crate) settling: TaskTracker,
    /// Told when the topology has been found or made on this connection.
    pub found: watch::Sender<bool>,
    /// Told when a message was unroutable.
    pub doubt: Arc<Notify>,
    pub longest_pause: Duration,
}

/// What each consumer of a session needs.
#[derive(Clone)]
struct Shared {
    connection: Arc<Connection>,
    pool: Channels,
    topology: Arc<Topology>,
    status: Status,
    longest_pause: Duration,
}

impl Consuming {
    /// Until the link is stopped.
    pub(super) async fn run(mut self) {
        while let Some(mut session) = self.link.next_session().await {
            let connection = session.connection.clone();
            let why = tokio::select! {
                why = self.serve(connection) => why,
                why = session.lost() => why,
                () = self.link.stopped() => Error::Stopped,
            };
            self.found.send_replace(false);
            self.link.end(session, why).await;
        }
    }

    async fn serve(&self, connection: Arc<Connection>) -> Error {
        let pool = match channels::pool(&connection) {
            Ok(pool) => pool,
            Err(error) => return error,
        };
        let shared = Shared {
            connection,
            pool,
            topology: self.topology.clone(),
            status: self.status.clone(),
            longest_pause: self.longest_pause,
        };
        let whole = match shared.topology.apply(&shared.pool, &shared.status).await {
            Ok(whole) => whole,
            Err(error) => return error,
        };
        self.found.send_replace(true);
        let mut consumers = JoinSet::new();
        for subscription in &self.subscriptions {
            // Ready means consuming, so until the consumer has begun it is a reason not to be.
            let part = consumer_part(subscription.queue.as_str());
            self.status.problem(&part, "not consuming yet".to_owned());
            let consumer = keep_consuming(shared.clone(), subscription.clone());
            consumers.spawn(self.settling.track_future(consumer));
        }
        self.status.link_up(Role::Consume);
        tokio::select! {
            error = first_failure(&mut consumers) => error,
            error = self.look_after(&shared, whole) => error,
        }
    }

    /// Applies the topology again until it is whole, and when unroutable messages make it
    /// doubtful; counts parked messages now and then.
    async fn look_after(&self, shared: &Shared, mut whole: bool) -> Error {
        let mut again = tokio::time::interval(shared.longest_pause);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        again.reset();
        let mut count = tokio::time::interval(PARKED_EVERY);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trusted_until = Instant::now();
        let queues = self.subscriptions.iter().map(|one| one.queue.as_str());
        let consumed: Vec<&str> = queues.collect();
        loop {
            let outcome = tokio::select! {
                () = doubted(&self.doubt, trusted_until), if whole => {
                    whole = false;
                    trusted_until = Instant::now() + DOUBT_EVERY;
                    again.reset_immediately();
                    Ok(())
                }
                _ = again.tick(), if !whole => shared
                    .topology
                    .apply_but(&consumed, &shared.pool, &shared.status)
                    .await
                    .map(|found| whole = found),
                _ = count.tick(), if !self.parked.is_empty() => {
                    count_parked(&shared.pool, &self.parked, &self.metrics).await
                }
                else => std::future::pending().await,
            };
            match outcome {
                Err(error) if !shared.connection.status().connected() => return error,
                Err(error) => tracing::debug!(%error, "cannot look after the topology"),
                Ok(()) => {}
            }
        }
    }
}

/// Resolves when a consumer can do no more on this connection; those that were drained are done.
async fn first_failure(consumers: &mut JoinSet<Result<(), Error>>) -> Error {
    while let Some(ended) = consumers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(panic) => return Error::Connection(panic.to_string()),
        }
    }
    std::future::pending().await
}

/// Consumes one queue for as long as the connection lives, whatever happens to queue and channel.
async fn keep_consuming(shared: Shared, subscription: Subscription) -> Result<(), Error> {
    let queue = subscription.queue.as_str();
    let part = consumer_part(queue);
    let mut backoff = Backoff::new(Duration::from_millis(100), shared.longest_pause);
    while !subscription.drain.is_cancelled() {
        let since = Instant::now();
        let started = || shared.status.well(&part);
        let why = match consume(&shared.connection, &subscription, started).await {
            Ok(Ended::Drained) => return Ok(()),
            Ok(Ended::Cancelled) => "the broker cancelled the consumer".to_owned(),
            Err(error) if !shared.connection.status().connected() => return Err(error),
            Err(error) => error.to_string(),
        };
        if shared.status.problem(&part, why.clone()) {
            tracing::warn!(queue, reason = why, "consumer stopped, starting it again");
        }
        if since.elapsed() > Duration::from_secs(5) {
            backoff.reset();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = subscription.drain.cancelled() => return Ok(()),
        }
        match shared.topology.restore(&shared.pool, queue).await {
            Ok(()) | Err(Error::Channel(_)) => {}
            Err(error) if !shared.connection.status().connected() => return Err(error),
            Err(error) => tracing::warn!(queue, %error, "cannot restore the queue"),
        }
    }
    Ok(())
}

/// An exchange or queue that nothing consumes may be deleted without a word to its publishers: all
/// that they see are unroutable messages.
async fn doubted(doubt: &Notify, trusted_until: Instant) {
    tokio::time::sleep_until(trusted_until).await;
    doubt.notified().await;
}

async fn count_parked(pool: &Channels, parked: &[String], metrics: &Metrics) -> Result<(), Error> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    for name in parked {
        let Ok(queue) = ShortString::try_new(name.as_str()) else {
            continue;
        };
        let channel = channels::get(pool).await?;
        let looking = channel.queue_declare(queue, passive, FieldTable::default());
        if let Ok(found) = bounded(COUNT_LIMIT, "counting parked messages", looking).await {
            metrics.parked(name).set(i64::from(found.message_count()));
        }
    }
    Ok(())
}
