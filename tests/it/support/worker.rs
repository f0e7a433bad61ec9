//! A worker that answers requests from a queue, as other people's do.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicAckOptions, BasicPublishOptions},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{Amqp, amqp::Got};

/// What to publish where: exchange is always the default one.
#[derive(Debug, Clone)]
pub struct Said {
    pub queue: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

/// Ends with the value.
#[derive(Debug)]
pub struct Worker {
    seen: Arc<Mutex<Vec<Got>>>,
    go: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Takes requests from `queue` and publishes what `answer` makes of each.
    pub async fn start(
        url: &str,
        queue: &str,
        answer: impl Fn(&Got) -> Vec<Said> + Send + 'static,
    ) -> Self {
        let worker = Self::start_paused(url, queue, answer).await;
        worker.go();
        worker
    }

    /// Takes requests, and answers none before [`Worker::go`].
    pub async fn start_paused(
        url: &str,
        queue: &str,
        answer: impl Fn(&Got) -> Vec<Said> + Send + 'static,
    ) -> Self {
        let amqp = Amqp::connect(url).await;
        let (channel, mut consumer) = amqp.consume(queue, 500).await;
        let seen: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (go, mut may_go) = watch::channel(false);
        let log = seen.clone();
        let task = tokio::spawn(async move {
            let _connection = amqp;
            while let Some(Ok(delivery)) = consumer.next().await {
                let tag = delivery.delivery_tag;
                let request = Got::from(delivery);
                log.lock().unwrap().push(request.clone());
                if may_go.wait_for(|go| *go).await.is_err() {
                    return;
                }
                for said in answer(&request) {
                    let options = BasicPublishOptions::default();
                    let queue = said.queue.as_str().into();
                    let published = channel.basic_publish(
                        "".into(),
                        queue,
                        options,
                        &said.body,
                        said.properties,
                    );
                    drop(published.await);
                }
                drop(channel.basic_ack(tag, BasicAckOptions::default()).await);
            }
        });
        Self { seen, go, task }
    }

    pub fn go(&self) {
        self.go.send_replace(true);
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Got> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The usual reply: to where the request asks, under its correlation id.
pub fn reply(request: &Got, body: impl Into<Vec<u8>>) -> Said {
    Said {
        queue: reply_to(request),
        properties: BasicProperties::default()
            .with_delivery_mode(2)
            .with_correlation_id(request.correlation_id().into()),
        body: body.into(),
    }
}

pub fn reply_to(request: &Got) -> String {
    let queue = request.properties.reply_to().as_ref();
    queue.expect("reply_to").to_string()
}
