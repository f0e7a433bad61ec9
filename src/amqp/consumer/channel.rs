//! One consumer on one channel, from `basic.consume` to its end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery as Raw,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Delivery, settling::Settling};
use crate::{
    amqp::error::{Error, bounded},
    message::Message,
};

const LIMIT: Duration = Duration::from_secs(5);
/// How often a channel's state is looked at while it has nothing to say.
const GLANCE: Duration = Duration::from_secs(1);

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
    settling: Settling,
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
        // What is still under way is lost with the channel; what is done must not be.
        running.settling.flush().await?;
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
    Ok(Running {
        settling: Settling::new(channel.clone(), subscription.prefetch),
        channel,
        consumer,
        sink: subscription.sink.clone(),
        pending: None,
    })
}

// === impl Running ===

impl Running {
    /// `true`: the broker cancelled the consumer; `false`: it is to be drained.
    async fn serve(&mut self, drain: &CancellationToken) -> Result<bool, Error> {
        let sink = self.sink.clone();
        let mut drained = std::pin::pin!(drain.cancelled());
        loop {
            tokio::select! {
                biased;
                () = drained.as_mut() => return Ok(false),
                settling = self.settling.step() => settling?,
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
        let settle = self.settling.delivered(raw.delivery_tag);
        let message = Message {
            exchange: raw.exchange,
            routing_key: raw.routing_key,
            redelivered: raw.redelivered,
            properties: raw.properties,
            body: Bytes::from(raw.data),
        };
        let received = Instant::now();
        let delivery = Delivery {
            message,
            settle,
            received,
        };
        // Where there is room, as there mostly is, it goes without waiting for its turn.
        match self.sink.try_send(delivery) {
            Ok(()) => {}
            Err(TrySendError::Full(delivery) | TrySendError::Closed(delivery)) => {
                self.pending = Some(delivery);
            }
        }
    }

    /// After the cancel: gives back what nobody has taken, then waits until all else is settled.
    async fn finish(mut self) -> Result<(), Error> {
        self.pending = None;
        // The cancel-ok came after the last delivery, so everything is here by now.
        while let Some(Some(Ok(raw))) = self.consumer.next().now_or_never() {
            drop(self.settling.delivered(raw.delivery_tag));
        }
        while !self.settling.is_over() {
            tokio::select! {
                settling = self.settling.step() => settling?,
                () = tokio::time::sleep(GLANCE) => {
                    if !self.channel.status().connected() {
                        return Err(Error::Connection("the channel was closed".to_owned()));
                    }
                }
            }
        }
        let closing = self.channel.close(200, "done".into());
        bounded(LIMIT, "closing a channel", closing).await
    }
}
