//! A bare consumer that acknowledges whatever has come at once, and all of it with one frame.

use anyhow::Context;
use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::{Duration, Instant};

const PREFETCH: u16 = 256;
const CHUNK: usize = 64;

/// Takes `messages` from the queue; the time is that from the first to the last.
pub(crate) async fn run(url: &str, queue: &str, messages: usize) -> anyhow::Result<Duration> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let qos = BasicQosOptions::default();
    channel.basic_qos(PREFETCH, qos).await?;
    let (tag, options) = ("".into(), BasicConsumeOptions::default());
    let consumer = channel
        .basic_consume(queue.into(), tag, options, FieldTable::default())
        .await?;
    let mut chunks = consumer.ready_chunks(CHUNK);
    let (mut first, mut taken) = (None, 0);
    while taken < messages {
        let chunk = chunks.next().await.context("the consumer was ended")?;
        let begin = *first.get_or_insert_with(Instant::now);
        let deliveries = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
        taken += deliveries.len();
        let last = deliveries.last().context("an empty chunk")?;
        let all = BasicAckOptions { multiple: true };
        channel.basic_ack(last.delivery_tag, all).await?;
        if taken >= messages {
            connection.close(200, "done".into()).await?;
            return Ok(begin.elapsed());
        }
    }
    anyhow::bail!("nothing to take")
}
