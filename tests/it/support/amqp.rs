//! An AMQP client that shares no code with the bridge's own.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    message::{BasicGetMessage, Delivery},
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use tokio::time::timeout;

/// Longest wait for the broker to answer one method.
const METHOD_LIMIT: Duration = Duration::from_secs(20);

/// One connection; every operation takes a channel of its own, so that none spoils another's.
#[derive(Debug)]
pub struct Amqp {
    connection: Connection,
}

/// What a passive declare tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub messages: u32,
    pub consumers: u32,
}

/// A message taken from a queue.
#[derive(Debug, Clone)]
pub struct Got {
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Amqp {
    pub async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default());
        let connection = limit("connect", connection).await;
        Self { connection }
    }

    pub async fn channel(&self) -> Channel {
        limit("channel.open", self.connection.create_channel()).await
    }

    /// A durable classic queue.
    pub async fn queue(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let new = self.new_queue(name, arguments).await;
        assert!(new, "the queue {name} is there, and another one");
    }

    /// Declares a queue; `false` where there is one already with other arguments.
    pub async fn new_queue(&self, name: &str, arguments: &[(&str, AMQPValue)]) -> bool {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let channel = self.channel().await;
        let declared = channel.queue_declare(name.into(), options, table(arguments));
        let declared = async {
            match declared.await {
                Err(error) if is_soft(&error, 406) => Ok(false),
                declared => declared.map(|_| true),
            }
        };
        limit("queue.declare", declared).await
    }

    pub async fn bind(&self, queue: &str, exchange: &str, routing_key: &str) {
        let channel = self.channel().await;
        let bound = channel.queue_bind(
            queue.into(),
            exchange.into(),
            routing_key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        limit("queue.bind", bound).await;
    }

    /// `None` where there is no such queue.
    pub async fn counts(&self, queue: &str) -> Option<Counts> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let channel = self.channel().await;
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
        match timeout(METHOD_LIMIT, declared).await {
            Ok(Ok(found)) => Some(Counts {
                messages: found.message_count(),
                consumers: found.consumer_count(),
            }),
            Ok(Err(error)) if error.to_string().contains("404") || is_soft(&error, 404) => None,
            Ok(Err(error)) => panic!("queue.declare passive {queue}: {error}"),
            Err(_) => panic!("queue.declare passive {queue}: no answer"),
        }
    }

    pub async fn purge(&self, queue: &str) {
        let channel = self.channel().await;
        let purged = channel.queue_purge(queue.into(), QueuePurgeOptions::default());
        limit("queue.purge", purged).await;
    }

    pub async fn delete_queue(&self, queue: &str) {
        let channel = self.channel().await;
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        limit("queue.delete", deleted).await;
    }

    /// Publishes to a queue by the default exchange, confirmed and routed.
    pub async fn send(&self, queue: &str, properties: BasicProperties, body: &[u8]) {
        self.publish("", queue, properties, body).await;
    }

    /// Publishes one message, confirmed and routed.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) {
        self.publish_all(exchange, routing_key, [(properties, body.to_vec())])
            .await;
    }

    /// Publishes many, each confirmed and routed.
    pub async fn publish_all(
        &self,
        exchange: &str,
        routing_key: &str,
        messages: impl IntoIterator<Item = (BasicProperties, Vec<u8>)>,
    ) {
        let channel = self.channel().await;
        let selected = channel.confirm_select(ConfirmSelectOptions::default());
        limit("confirm.select", selected).await;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let mut confirms = Vec::new();
        for (properties, body) in messages {
            let published = channel.basic_publish(
                exchange.into(),
                routing_key.into(),
                options,
                &body,
                properties,
            );
            confirms.push(limit("basic.publish", published).await);
        }
        for confirm in confirms {
            match limit("confirm", confirm).await {
                Confirmation::Ack(None) => {}
                other => panic!("publish to {exchange:?} {routing_key:?}: {other:?}"),
            }
        }
    }

    /// Takes one message off the queue, if there is one.
    pub async fn get(&self, queue: &str) -> Option<Got> {
        let channel = self.channel().await;
        let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        limit("basic.get", got).await.map(Got::from)
    }

    /// Takes every message off the queue.
    pub async fn drain(&self, queue: &str) -> Vec<Got> {
        let channel = self.channel().await;
        let mut all = Vec::new();
        loop {
            let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
            match limit("basic.get", got).await {
                Some(message) => all.push(Got::from(message)),
                None => return all,
            }
        }
    }

    /// Takes `message_count` messages and more off a queue that nobody else uses, quickly.
    pub async fn drain_many(&self, queue: &str) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            let wanted = self.counts(queue).await.map_or(0, |counts| counts.messages);
            if wanted == 0 {
                return all;
            }
            let (channel, mut consumer) = self.consume(queue, 2_000).await;
            for _ in 0..wanted {
                let delivery = timeout(METHOD_LIMIT, consumer.next())
                    .await
                    .unwrap_or_else(|_| panic!("{queue} has messages and delivers none"))
                    .expect("the consumer lives")
                    .expect("a delivery");
                let tag = delivery.delivery_tag;
                all.push(Got::from(delivery));
                if all.len().is_multiple_of(500) {
                    ack_until(&channel, tag).await;
                }
            }
            ack_until(&channel, 0).await;
            drop(consumer);
            limit("channel.close", channel.close(200, "drained".into())).await;
        }
    }

    /// A consumer that acknowledges by itself, `prefetch` at a time.
    pub async fn consume(&self, queue: &str, prefetch: u16) -> (Channel, Consumer) {
        let channel = self.channel().await;
        limit(
            "basic.qos",
            channel.basic_qos(prefetch, BasicQosOptions::default()),
        )
        .await;
        let consumer = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = limit("basic.consume", consumer).await;
        (channel, consumer)
    }
}

/// 0 means all that were delivered.
async fn ack_until(channel: &Channel, tag: u64) {
    let acked = channel.basic_ack(tag, BasicAckOptions { multiple: true });
    limit("basic.ack", acked).await;
}

async fn limit<T>(what: &str, method: impl Future<Output = lapin::Result<T>>) -> T {
    timeout(METHOD_LIMIT, method)
        .await
        .unwrap_or_else(|_| panic!("{what}: no answer within {METHOD_LIMIT:?}"))
        .unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Whether the broker has answered with this reply code.
fn is_soft(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(error) if error.get_id() == code)
}

/// Short for the arguments of a queue or the headers of a message.
pub fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    entries
        .iter()
        .map(|(name, value)| (ShortString::from(*name), value.clone()))
        .collect::<BTreeMap<_, _>>()
        .into()
}

pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// A persistent message with this id.
pub fn with_id(id: &str) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(id.into())
}

// === impl Got ===

impl Got {
    pub fn message_id(&self) -> &str {
        let id = self.properties.message_id().as_ref();
        id.map_or("", |id| id.as_str())
    }

    pub fn correlation_id(&self) -> &str {
        let id = self.properties.correlation_id().as_ref();
        id.map_or("", |id| id.as_str())
    }

    pub fn headers(&self) -> &BTreeMap<ShortString, AMQPValue> {
        static NONE: BTreeMap<ShortString, AMQPValue> = BTreeMap::new();
        let headers = self.properties.headers().as_ref();
        headers.map_or(&NONE, FieldTable::inner)
    }

    /// A header's value as text, whatever its type; empty where it is absent.
    pub fn header(&self, name: &str) -> String {
        match self.headers().get(name) {
            None => String::new(),
            Some(AMQPValue::LongString(text)) => text.to_string(),
            Some(AMQPValue::ShortString(text)) => text.to_string(),
            Some(AMQPValue::LongLongInt(number)) => number.to_string(),
            Some(AMQPValue::LongInt(number)) => number.to_string(),
            Some(AMQPValue::LongUInt(number)) => number.to_string(),
            Some(AMQPValue::ShortInt(number)) => number.to_string(),
            Some(AMQPValue::ShortUInt(number)) => number.to_string(),
            Some(AMQPValue::Timestamp(number)) => number.to_string(),
            Some(other) => format!("{other:?}"),
        }
    }
}

impl From<BasicGetMessage> for Got {
    fn from(message: BasicGetMessage) -> Self {
        Self::from(message.delivery)
    }
}

impl From<Delivery> for Got {
    fn from(delivery: Delivery) -> Self {
        Self {
            routing_key: delivery.routing_key.as_str().to_owned(),
            properties: delivery.properties,
            body: delivery.data,
        }
    }
}
