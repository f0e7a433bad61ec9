//! The broker as the rest of the process sees it: publish, subscribe, wait for replies, and a
//! status. Behind it two supervised connections.

use std::sync::Arc;

use lapin::types::ShortString;
use tokio::{
    sync::{Mutex, Notify, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Delivery, Publisher, Replies, Status,
    connect::Role,
    consumer::Subscription,
    consuming::Consuming,
    error::Error,
    link::Link,
    publisher::{Lane, Requests},
    publishing::Publishing,
    reply_desk::ReplyDesk,
    topology::Topology,
};
use crate::{
    config::{Config, model::Amqp, names},
    task,
    telemetry::Metrics,
};

/// Replies that the broker may send ahead of their hand-over to the waiters.
const REPLY_PREFETCH: u16 = 512;

/// Everything on the broker's side, not yet running.
pub struct Broker {
    config: Arc<Amqp>,
    metrics: Metrics,
    status: Status,
    publisher: Publisher,
    requests: Requests,
    replies: Replies,
    topology: Arc<Topology>,
    subscriptions: Vec<Subscription>,
    parked: Vec<String>,
    stages: Stages,
}

/// The stages of a shutdown, as far as the broker is concerned.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// Cancels the consumers of work queues; settling goes on.
    pub consumers: CancellationToken,
    /// Cancels the consumers of reply queues: no call waits any more.
    pub replies: CancellationToken,
    /// The consumers, until all that they were given is settled at the broker.
    pub settling: TaskTracker,
    /// Closes the connections.
    pub connections: CancellationToken,
}

impl Broker {
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        let status = Status::new(metrics.clone());
        let (publisher, requests) = Publisher::new(config.amqp.in_flight, status.gate());
        Self {
            config: Arc::new(config.amqp.clone()),
            metrics: metrics.clone(),
            status,
            publisher,
            requests: Arc::new(Mutex::new(requests)),
            replies: Replies::new(&config.amqp.instance),
            topology: Arc::new(Topology::new(config)),
            subscriptions: Vec::new(),
            parked: config.parked_queues(),
            stages: Stages::default(),
        }
    }

    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    pub fn replies(&self) -> Replies {
        self.replies.clone()
    }

    pub fn status(&self) -> Status {
        self.status.clone()
    }

    pub fn stages(&self) -> Stages {
        self.stages.clone()
    }

    /// The deliveries of `queue`, across every reconnect. At most `prefetch` are unsettled at once.
    ///
    /// # Errors
    /// A name over 255 bytes.
    pub fn subscribe(
        &mut self,
        queue: &str,
        prefetch: u16,
    ) -> Result<mpsc::Receiver<Delivery>, Error> {
        let drain = self.stages.consumers.clone();
        self.add_subscription(queue, prefetch, drain)
    }

    /// Starts both links, and the reply desk where a route waits for replies.
    ///
    /// The links end when their stage of the shutdown comes. One that ends before has panicked.
    ///
    /// # Errors
    /// A name over 255 bytes.
    pub fn start(
        mut self,
        config: &Config,
        tracker: &TaskTracker,
    ) -> Result<[JoinHandle<()>; 2], Error> {
        self.attend_replies(config, tracker)?;
        let (found, topology_found) = watch::channel(false);
        let doubt = Arc::new(Notify::new());
        let publishing = Publishing {
            link: self.link(Role::Publish),
            status: self.status.clone(),
            lane: Lane {
                requests: self.requests.clone(),
                window: self.config.window,
                gate: self.status.gate(),
                stop: CancellationToken::new(),
                doubt: doubt.clone(),
            },
            lanes: self.config.lanes,
            topology_found,
        };
        let consuming = Consuming {
            link: self.link(Role::Consume),
            status: self.status,
            metrics: self.metrics,
            topology: self.topology,
            subscriptions: self.subscriptions,
            parked: self.parked,
            settling: self.stages.settling,
            found,
            doubt,
            longest_pause: self.config.reconnect_max,
        };
        Ok([
            task::spawn(tracker, "publish connection", publishing.run()),
            task::spawn(tracker, "consume connection", consuming.run()),
        ])
    }

    fn add_subscription(
        &mut self,
        queue: &str,
        prefetch: u16,
        drain: CancellationToken,
    ) -> Result<mpsc::Receiver<Delivery>, Error> {
        let name = ShortString::try_new(queue).map_err(|_| Error::NameTooLong(queue.to_owned()))?;
        let (sink, deliveries) = mpsc::channel(usize::from(prefetch).max(1));
        self.subscriptions.push(Subscription {
            queue: name,
            prefetch,
            sink,
            drain,
        });
        Ok(deliveries)
    }

    fn attend_replies(&mut self, config: &Config, tracker: &TaskTracker) -> Result<(), Error> {
        let replies = config
            .routes
            .iter()
            .filter_map(|route| route.inbound()?.reply());
        let mut queues: Vec<String> = replies.filter_map(|reply| reply.queue.clone()).collect();
        if config.routes.iter().any(|route| {
            route
                .inbound()
                .is_some_and(|inbound| inbound.reply().is_some())
        }) {
            queues.push(names::reply_queue(&self.config.instance));
        }
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            let drain = self.stages.replies.clone();
            let deliveries = self.add_subscription(&queue, REPLY_PREFETCH, drain)?;
            let desk = ReplyDesk {
                replies: self.replies.clone(),
                publisher: self.publisher.clone(),
                metrics: self.metrics.clone(),
            };
            task::spawn(tracker, "reply desk", desk.run(deliveries));
        }
        Ok(())
    }

    fn link(&self, role: Role) -> Link {
        let stop = self.stages.connections.clone();
        Link::new(role, self.config.clone(), self.status.clone(), stop)
    }
}
