//! One consumer on one channel, from `basic.consume` to its end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery as Raw,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery, Settle, Verdict,
    unsettled::{Ack, Unsettled},
};
use crate::{
    amqp::error::{Error, bounded},
    message::Message,
};

const LIMIT: Duration = Duration::from_secs(5);

/// What is consumed, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub queue: ShortString,
    pub prefetch: u16,
    pub sink: mpsc::Sender<Delivery>,
    /// Cancels the consumer; what is under way may still be settled.
    pub drain: CancellationToken,
}

/// How a consumer ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was told to, and everything it had is settled.
    Drained,
    /// The broker cancelled it: its queue was deleted, or its leader lost.
    Cancelled,
}

/// One running consumer: the only owner of its channel.
struct Running {
    channel: Channel,
    consumer: Consumer,
    unsettled: Unsettled,
    verdicts: mpsc::Receiver<(u64, Verdict)>,
    settle: mpsc::Sender<(u64, Verdict)>,
    sink: mpsc::Sender<Delivery>,
    /// Taken from the client library, not yet in the sink.
    pending: Option<Delivery>,
}

/// Consumes until told to stop, or until the channel ends.
///
/// # Errors
/// The channel or connection has failed; every unsettled delivery has been requeued by the broker.
pub(crate) async fn consume(
    connection: &Connection,
    subscription: &Subscription,
    started: impl FnOnce(),
) -> Result<Ended, Error> {
    let mut running = start(connection, subscription).await?;
    started();
    let cancelled = running.serve(&subscription.drain).await?;
    if cancelled {
        return Ok(Ended::Cancelled);
    }
    let tag = running.consumer.tag();
    let cancelling = running
        .channel
        .basic_cancel(tag, BasicCancelOptions::default());
    bounded(LIMIT, "cancelling a consumer", cancelling).await?;
    running.finish().await?;
    Ok(Ended::Drained)
}

async fn start(connection: &Connection, subscription: &Subscription) -> Result<Running, Error> {
    let channel = bounded(LIMIT, "opening a channel", connection.create_channel()).await?;
    let qos = channel.basic_qos(subscription.prefetch, BasicQosOptions::default());
    bounded(LIMIT, "setting the prefetch", qos).await?;
    let consuming = channel.basic_consume(
        subscription.queue.clone(),
        ShortString::default(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = bounded(LIMIT, "starting a consumer", consuming).await?;
    let (settle, verdicts) = mpsc::channel(usize::from(subscription.prefetch).max(1));
    Ok(Running {
        channel,
        consumer,
        unsettled: Unsettled::default(),
        verdicts,
        settle,
        sink: subscription.sink.clone(),
        pending: None,
    })
}

// === impl Running ===

impl Running {
    /// `true`: the broker cancelled the consumer; `false`: it is to be drained.
    async fn serve(&mut self, drain: &CancellationToken) -> Result<bool, Error> {
        let mut batch = Vec::new();
        let sink = self.sink.clone();
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => return Ok(false),
                _ = self.verdicts.recv_many(&mut batch, 256) => self.settle(&mut batch).await?,
                room = sink.reserve(), if self.pending.is_some() => match (room, self.pending.take()) {
                    (Ok(room), Some(delivery)) => room.send(delivery),
                    // Nobody takes deliveries any more: the process is going down.
                    _ => return Ok(false),
                },
                next = self.consumer.next(), if self.pending.is_none() => match next {
                    Some(Ok(raw)) => self.take(raw),
                    Some(Err(error)) => return Err(error.into()),
                    None if self.channel.status().connected() => return Ok(true),
                    None => return Err(Error::Connection("the channel was closed".to_owned())),
                },
            }
        }
    }

    fn take(&mut self, raw: Raw) {
        self.unsettled.delivered(raw.delivery_tag);
        let settle = Settle {
            tag: raw.delivery_tag,
            verdicts: self.settle.clone(),
            done: false,
        };
        let message = Message {
            exchange: raw.exchange,
            routing_key: raw.routing_key,
            redelivered: raw.redelivered,
            properties: raw.properties,
            body: Bytes::from(raw.data),
        };
        self.pending = Some(Delivery {
            message,
            settle,
            received: Instant::now(),
        });
    }

    /// After the cancel: gives back what nobody has taken, then waits until all else is settled.
    async fn finish(mut self) -> Result<(), Error> {
        self.pending = None;
        // The cancel-ok came after the last delivery, so everything is here by now.
        while let Some(Some(Ok(raw))) = futures_util::FutureExt::now_or_never(self.consumer.next())
        {
            self.take(raw);
            self.pending = None;
            self.drain_verdicts().await?;
        }
        let mut batch = Vec::new();
        while self.unsettled.outstanding() > 0 {
            tokio::select! {
                taken = self.verdicts.recv_many(&mut batch, 256) => {
                    if taken == 0 {
                        break;
                    }
                    self.settle(&mut batch).await?;
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    if !self.channel.status().connected() {
                        return Err(Error::Connection("the channel was closed".to_owned()));
                    }
                }
            }
        }
        bounded(
            LIMIT,
            "closing a channel",
            self.channel.close(200, "done".into()),
        )
        .await
    }

    async fn drain_verdicts(&mut self) -> Result<(), Error> {
        let mut batch = Vec::new();
        while let Ok(verdict) = self.verdicts.try_recv() {
            batch.push(verdict);
        }
        self.settle(&mut batch).await
    }

    async fn settle(&mut self, batch: &mut Vec<(u64, Verdict)>) -> Result<(), Error> {
        let mut acked = Vec::with_capacity(batch.len());
        for (tag, verdict) in batch.drain(..) {
            match verdict {
                Verdict::Ack => acked.push(tag),
                Verdict::Requeue => {
                    self.unsettled.requeued(tag);
                    let options = BasicNackOptions {
                        requeue: true,
                        multiple: false,
                    };
                    let nacking = self.channel.basic_nack(tag, options);
                    bounded(LIMIT, "giving a delivery back", nacking).await?;
                }
            }
        }
        for Ack { tag, multiple } in self.unsettled.ack(acked) {
            let acking = self.channel.basic_ack(tag, BasicAckOptions { multiple });
            bounded(LIMIT, "acknowledging", acking).await?;
        }
        Ok(())
    }
}
