//! Bare RPC: tasks that each publish a request, confirmed, and wait for its reply on one durable
//! queue. No HTTP.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio::{sync::oneshot, task::JoinSet, time::timeout};
use uuid::Uuid;

use super::lanes::{Lanes, Outcome, Publisher};
use crate::closed_loop::Caller;

const REPLY_LIMIT: Duration = Duration::from_secs(10);
const PREFETCH: u16 = 256;

/// Who waits, by correlation id.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Vec<u8>>>>>;

/// Publishes requests and takes replies; ends with the value.
pub(crate) struct Rpc {
    lanes: Lanes,
    reply_to: String,
    body: Bytes,
    waiting: Waiting,
    _replies: JoinSet<anyhow::Result<()>>,
    _connections: [Connection; 2],
}

/// One task's.
pub(crate) struct Task {
    publisher: Publisher,
    reply_to: String,
    body: Bytes,
    waiting: Waiting,
}

// === impl Rpc ===

impl Rpc {
    /// Declares `reply_to` as a classic queue, as the bridge does with one broker.
    pub(crate) async fn open(
        url: &str,
        queue: &str,
        reply_to: &str,
        body: usize,
    ) -> anyhow::Result<Self> {
        let publishing = Connection::connect(url, ConnectionProperties::default()).await?;
        let consuming = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = consuming.create_channel().await?;
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(reply_to.into(), durable, FieldTable::default())
            .await?;
        let qos = BasicQosOptions::default();
        channel.basic_qos(PREFETCH, qos).await?;
        let (tag, options) = ("".into(), BasicConsumeOptions::default());
        let consumer = channel
            .basic_consume(reply_to.into(), tag, options, FieldTable::default())
            .await?;
        let waiting = Waiting::default();
        let mut replies = JoinSet::new();
        replies.spawn(take(consumer, waiting.clone()));
        Ok(Self {
            lanes: Lanes::open(&publishing, queue).await?,
            reply_to: reply_to.to_owned(),
            body: vec![b'x'; body].into(),
            waiting,
            _replies: replies,
            _connections: [publishing, consuming],
        })
    }

    pub(crate) fn task(&self) -> Task {
        Task {
            publisher: self.lanes.publisher(),
            reply_to: self.reply_to.clone(),
            body: self.body.clone(),
            waiting: self.waiting.clone(),
        }
    }
}

async fn take(mut consumer: Consumer, waiting: Waiting) -> anyhow::Result<()> {
    while let Some(delivery) = consumer.next().await {
        let mut reply = delivery?;
        let id = reply.properties.correlation_id().as_ref();
        let id = id.context("a correlation id")?.as_str().to_owned();
        let waiter = lock(&waiting).remove(&id);
        if let Some(waiter) = waiter {
            waiter.send(std::mem::take(&mut reply.data)).ok();
        }
        reply.ack(BasicAckOptions::default()).await?;
    }
    anyhow::bail!("the broker ended the consumer")
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Vec<u8>>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Caller for Task {
    async fn call(&mut self) -> anyhow::Result<()> {
        let id = Uuid::new_v4().to_string();
        let (sender, reply) = oneshot::channel();
        lock(&self.waiting).insert(id.clone(), sender);
        let properties = BasicProperties::default()
            .with_correlation_id(id.as_str().into())
            .with_reply_to(self.reply_to.as_str().into());
        let published = self.publisher.publish(&id, properties, self.body.clone());
        let outcome = published.await;
        let reply = match outcome {
            Outcome::Routed => timeout(REPLY_LIMIT, reply).await,
            other => {
                lock(&self.waiting).remove(&id);
                anyhow::bail!("a request was {other:?}")
            }
        };
        let Ok(reply) = reply else {
            lock(&self.waiting).remove(&id);
            anyhow::bail!("no reply")
        };
        ensure!(reply?.len() == self.body.len(), "another reply");
        Ok(())
    }
}
