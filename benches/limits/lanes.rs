//! Confirmed publishing for many tasks: a few channels, each owned by one task.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

const LANES: usize = 4;
const WINDOW: usize = 64;
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Routed,
    Returned,
    Nacked,
    Overloaded,
    Unknown,
}

/// The channels' tasks end with the value.
pub(crate) struct Lanes {
    publisher: Publisher,
    _tasks: JoinSet<anyhow::Result<()>>,
}

/// Publishes to one queue; clones share the lanes.
#[derive(Clone)]
pub(crate) struct Publisher(mpsc::Sender<Publish>);

type Requests = Arc<Mutex<mpsc::Receiver<Publish>>>;

struct Publish {
    id: ShortString,
    properties: BasicProperties,
    body: Bytes,
    answer: oneshot::Sender<Outcome>,
}

// === impl Lanes ===

impl Lanes {
    pub(crate) async fn open(connection: &Connection, queue: &str) -> anyhow::Result<Self> {
        let (publisher, requests) = mpsc::channel(4096);
        let requests: Requests = Arc::new(Mutex::new(requests));
        let mut tasks = JoinSet::new();
        for _ in 0..LANES {
            let channel = connection.create_channel().await?;
            let confirm = ConfirmSelectOptions::default();
            channel.confirm_select(confirm).await?;
            tasks.spawn(lane(channel, queue.to_owned(), requests.clone()));
        }
        Ok(Self {
            publisher: Publisher(publisher),
            _tasks: tasks,
        })
    }

    pub(crate) fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }
}

// === impl Publisher ===

impl Publisher {
    /// Publishes persistently, and waits for the outcome.
    pub(crate) async fn publish(
        &self,
        id: &str,
        properties: BasicProperties,
        body: Bytes,
    ) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let id: ShortString = id.into();
        let properties = properties.with_delivery_mode(2).with_message_id(id.clone());
        let publish = Publish {
            id,
            properties,
            body,
            answer,
        };
        if self.0.try_send(publish).is_err() {
            return Outcome::Overloaded;
        }
        match timeout(CONFIRM_LIMIT, outcome).await {
            Ok(Ok(outcome)) => outcome,
            _ => Outcome::Unknown,
        }
    }
}

/// Owns its channel: publishes a window, awaits every confirm, and only then matches the returns,
/// which the client library hands to whichever confirm is next.
async fn lane(channel: Channel, queue: String, requests: Requests) -> anyhow::Result<()> {
    loop {
        let mut window = Vec::with_capacity(WINDOW);
        if requests.lock().await.recv_many(&mut window, WINDOW).await == 0 {
            return Ok(());
        }
        let writes = window.iter_mut().map(|each| {
            let properties = std::mem::take(&mut each.properties);
            write(&channel, &queue, properties, &each.body)
        });
        let mut acked = Vec::with_capacity(WINDOW);
        let mut returned = HashSet::new();
        for confirm in try_join_all(writes).await.context("cannot write")? {
            let (ack, message) = match confirm.await? {
                Confirmation::Ack(message) => (true, message),
                Confirmation::Nack(message) => (false, message),
                Confirmation::NotRequested => (false, None),
            };
            acked.push(ack);
            returned.extend(message.and_then(|message| message.properties.message_id().clone()));
        }
        for (publish, ack) in window.into_iter().zip(acked) {
            let outcome = match ack {
                _ if returned.contains(&publish.id) => Outcome::Returned,
                true => Outcome::Routed,
                false => Outcome::Nacked,
            };
            publish.answer.send(outcome).ok();
        }
    }
}

async fn write(
    channel: &Channel,
    to: &str,
    properties: BasicProperties,
    body: &[u8],
) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    channel
        .basic_publish("".into(), to.into(), options, body, properties)
        .await
}
