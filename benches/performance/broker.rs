//! The broker's side: queues to measure with, messages to deliver, a worker that replies.

use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::{task::JoinSet, time::Instant};

const FILL_WINDOW: usize = 512;
const WORKER_PREFETCH: u16 = 256;
const WORKER_CHUNK: usize = 64;
const COUNT_LIMIT: Duration = Duration::from_secs(30);

/// A connection to the broker, shared with nothing that is measured.
pub(crate) struct Broker {
    pub(crate) connection: Connection,
}

/// Answers every request of a queue; ends with the value.
pub(crate) struct Worker {
    _task: JoinSet<anyhow::Result<()>>,
    _connection: Broker,
}

// === impl Broker ===

impl Broker {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default());
        let connection = connection.await.context("cannot reach the broker")?;
        Ok(Self { connection })
    }

    /// A new, empty, durable queue of this type.
    pub(crate) async fn queue(&self, name: &str, kind: &str) -> anyhow::Result<()> {
        self.delete(name).await?;
        let mut arguments = FieldTable::default();
        let kind = AMQPValue::LongString(kind.into());
        arguments.insert("x-queue-type".into(), kind);
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let channel = self.connection.create_channel().await?;
        channel
            .queue_declare(name.into(), options, arguments)
            .await?;
        Ok(())
    }

    /// Deletes a queue; there need not be one.
    pub(crate) async fn delete(&self, name: &str) -> anyhow::Result<()> {
        let channel = self.connection.create_channel().await?;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(name.into(), options).await?;
        Ok(())
    }

    /// How many messages a queue holds; fails where there is none.
    pub(crate) async fn messages(&self, name: &str) -> anyhow::Result<u64> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let channel = self.connection.create_channel().await?;
        let queue = channel.queue_declare(name.into(), options, FieldTable::default());
        Ok(queue.await?.message_count().into())
    }

    /// How many messages a queue holds, once that is `wanted`, or after a while.
    pub(crate) async fn settled(
        &self,
        name: &str,
        wanted: impl Fn(u64) -> bool,
    ) -> anyhow::Result<u64> {
        let deadline = Instant::now() + COUNT_LIMIT;
        loop {
            let found = self.messages(name).await?;
            if wanted(found) || Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Puts `count` persistent messages with ids of their own into a queue, all confirmed.
    pub(crate) async fn fill(&self, queue: &str, count: usize, body: &[u8]) -> anyhow::Result<()> {
        let channel = self.connection.create_channel().await?;
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await?;
        let ids: Vec<String> = (0..count).map(|index| format!("bench-{index}")).collect();
        for window in ids.chunks(FILL_WINDOW) {
            let publishes = window.iter().map(|id| {
                let properties = BasicProperties::default()
                    .with_delivery_mode(2)
                    .with_content_type("application/octet-stream".into())
                    .with_message_id(id.as_str().into());
                let options = BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                };
                channel.basic_publish("".into(), queue.into(), options, body, properties)
            });
            for confirmed in try_join_all(try_join_all(publishes).await?).await? {
                let routed = matches!(confirmed, Confirmation::Ack(None));
                anyhow::ensure!(routed, "the broker did not take a message: {confirmed:?}");
            }
        }
        Ok(())
    }
}

// === impl Worker ===

impl Worker {
    /// Replies to each request of `queue` with its own body.
    pub(crate) async fn start(url: &str, queue: &str) -> anyhow::Result<Self> {
        let broker = Broker::connect(url).await?;
        let channel = broker.connection.create_channel().await?;
        let qos = BasicQosOptions::default();
        channel.basic_qos(WORKER_PREFETCH, qos).await?;
        let (tag, options) = ("".into(), BasicConsumeOptions::default());
        let consumer = channel
            .basic_consume(queue.into(), tag, options, FieldTable::default())
            .await?;
        let mut task = JoinSet::new();
        task.spawn(work(channel, consumer));
        Ok(Self {
            _task: task,
            _connection: broker,
        })
    }
}

/// Replies to what is there, then acknowledges it all at once.
async fn work(channel: Channel, consumer: Consumer) -> anyhow::Result<()> {
    let mut chunks = consumer.ready_chunks(WORKER_CHUNK);
    while let Some(chunk) = chunks.next().await {
        let requests = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
        let replies = requests.iter().filter_map(|request| {
            let reply_to = request.properties.reply_to().clone()?;
            let mut properties = BasicProperties::default().with_delivery_mode(2);
            if let Some(id) = request.properties.correlation_id() {
                properties = properties.with_correlation_id(id.clone());
            }
            let options = BasicPublishOptions::default();
            Some(channel.basic_publish("".into(), reply_to, options, &request.data, properties))
        });
        try_join_all(replies).await?;
        if let Some(last) = requests.last() {
            let all = BasicAckOptions { multiple: true };
            channel.basic_ack(last.delivery_tag, all).await?;
        }
    }
    anyhow::bail!("the broker ended the worker's consumer")
}
