//! A worker that replies with the request's own body, and comes back after every trouble.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::FieldTable,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{ledger::Ledger, support::amqp::Got};

/// No method of the broker is waited for longer.
const LIMIT: Duration = Duration::from_secs(10);

/// Which requests it answers now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeal {
    All,
    /// Of those whose id has this in it, it forgets half: those that end in an odd digit.
    EvenOf(&'static str),
    /// It takes them, and holds them.
    None,
}

impl Zeal {
    fn forgets(self, id: &str) -> bool {
        let odd = id.bytes().last().is_some_and(|digit| digit % 2 == 1);
        matches!(self, Self::EvenOf(part) if odd && id.contains(part))
    }
}

/// Ends with the value.
#[derive(Debug)]
pub struct Worker {
    zeal: watch::Sender<Zeal>,
    task: JoinHandle<()>,
}

impl Worker {
    pub fn start(urls: Vec<String>, queue: &str, ledger: Arc<Ledger>) -> Self {
        let (zeal, told) = watch::channel(Zeal::All);
        let queue = queue.to_owned();
        let task = tokio::spawn(async move {
            // A node behind a cut wire says nothing; with the broker's own interval it would be
            // believed for two minutes.
            let urls: Vec<_> = urls
                .iter()
                .map(|url| format!("{url}?heartbeat=2"))
                .collect();
            for url in urls.iter().cycle() {
                // What the broker thinks of it is not this worker's matter.
                drop(session(url, &queue, &ledger, told.clone()).await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { zeal, task }
    }

    pub fn be(&self, zeal: Zeal) {
        self.zeal.send_replace(zeal);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the connection or the consumer ends.
async fn session(
    url: &str,
    queue: &str,
    ledger: &Ledger,
    mut zeal: watch::Receiver<Zeal>,
) -> Result<(), String> {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    let connection = limit(connecting).await?;
    let channel = limit(connection.create_channel()).await?;
    limit(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    limit(channel.basic_qos(200, BasicQosOptions::default())).await?;
    let options = BasicConsumeOptions::default();
    let consume = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let mut consumer = limit(consume).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery.map_err(|error| error.to_string())?;
        let tag = delivery.delivery_tag;
        let request = Got::from(delivery);
        let waiting = zeal.wait_for(|zeal| *zeal != Zeal::None).await;
        let now = *waiting.map_err(|error| error.to_string())?;
        let answers = ledger.asked(&request) && !now.forgets(request.message_id());
        if let Some(reply_to) = request.properties.reply_to().clone().filter(|_| answers) {
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_correlation_id(request.correlation_id().into());
            let options = BasicPublishOptions::default();
            let sent =
                channel.basic_publish("".into(), reply_to, options, &request.body, properties);
            if limit(limit(sent).await?).await?.is_nack() {
                return Err("nacked: to be tried again on another channel".to_owned());
            }
            ledger.replied(request.message_id());
        }
        limit(channel.basic_ack(tag, BasicAckOptions::default())).await?;
    }
    Err("the consumer ended".to_owned())
}

async fn limit<T>(method: impl Future<Output = lapin::Result<T>>) -> Result<T, String> {
    let done = timeout(LIMIT, method)
        .await
        .map_err(|_| "no answer".to_owned())?;
    done.map_err(|error| error.to_string())
}
