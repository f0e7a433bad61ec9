//! One pass over a queue.
//!
//! Messages are taken with manual acknowledgement and held until the end, or they would come round
//! again; only the channel knows them, not this process's memory. They come through a consumer
//! with a small prefetch. When all of that is held the consumer is cancelled, which leaves its
//! messages with the channel, and the next one takes over.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    ParkedError,
    look::{self, LIMIT, short},
    silence::{QUIET, Silence, Silent},
};
use crate::{
    amqp::error::{Error, bounded},
    message::{Message, field},
};

/// Bodies that may wait between the broker and this process, in bytes, as far as the bodies seen
/// so far let one tell.
const AHEAD: u64 = 4 * 1024 * 1024;
const FIRST_WINDOW: u16 = 8;
const LARGEST_WINDOW: u16 = 512;
/// How long what was given back may take to be visible to the next.
const VISIBLE: Duration = Duration::from_secs(2);

/// A message and its delivery tag. It stays with the scan's channel until it is acknowledged.
#[derive(Debug)]
pub(super) struct Taken {
    pub tag: u64,
    pub message: Message,
}

pub(super) struct Scan<'a> {
    connection: &'a Connection,
    channel: Channel,
    queue: String,
    /// Deliveries that may still be handed out.
    left: u64,
    window: Option<Window>,
    windows: u32,
    /// Delivered to a consumer that has been cancelled since.
    ahead: VecDeque<Taken>,
    /// The highest delivery tag seen.
    last: u64,
    acked: u64,
    /// Taken off the queue since the broker answered on this channel.
    unheard: u64,
    bytes: u64,
    since: Instant,
}

struct Window {
    consumer: Consumer,
    size: u16,
    /// The first delivery tag that can belong to it.
    first: u64,
    delivered: u64,
    acked: u64,
}

impl Window {
    fn held(&self) -> u64 {
        self.delivered - self.acked
    }
}

impl Taken {
    /// How often the broker says that it was given back, or lost with a connection.
    pub(super) fn returns(&self) -> i64 {
        let count = self.message.header("x-delivery-count");
        let count = count.and_then(field::integer).unwrap_or(0);
        i64::try_from(count).unwrap_or(i64::MAX)
    }
}

// === impl Scan ===

impl<'a> Scan<'a> {
    /// A pass over at most `messages`.
    pub(super) async fn open(
        connection: &'a Connection,
        queue: &str,
        messages: u64,
    ) -> Result<Self, ParkedError> {
        Ok(Self {
            connection,
            channel: look::open(connection).await?,
            queue: queue.to_owned(),
            left: messages,
            window: None,
            windows: 0,
            ahead: VecDeque::new(),
            last: 0,
            acked: 0,
            unheard: 0,
            bytes: 0,
            since: Instant::now(),
        })
    }

    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// A message that is here already.
    pub(super) fn ready(&mut self) -> Option<Taken> {
        if self.left == 0 {
            return None;
        }
        let taken = self.ahead.pop_front().or_else(|| self.arrived())?;
        self.left -= 1;
        Some(taken)
    }

    /// The next message. `None`: all have been seen, or `stop` was asked for. At most `wanted`
    /// are taken ahead.
    pub(super) async fn next(
        &mut self,
        wanted: u64,
        stop: &CancellationToken,
    ) -> Result<Option<Taken>, ParkedError> {
        let mut silence = Silence::begin();
        while self.left > 0 && !stop.is_cancelled() {
            if let Some(taken) = self.ready() {
                return Ok(Some(taken));
            }
            self.turn(wanted).await?;
            let Some(window) = &mut self.window else {
                continue;
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                next = window.consumer.next() => match next {
                    Some(Ok(delivery)) => {
                        let taken = self.note(delivery);
                        self.left -= 1;
                        return Ok(Some(taken));
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Err(self.ended()),
                },
                () = tokio::time::sleep(QUIET) => {
                    let (ready, _) = look::count(self.connection, &self.queue).await?;
                    match silence.with(ready) {
                        Silent::Wait => {}
                        Silent::Over => return Ok(None),
                        Silent::Stalled => {
                            let queue = self.queue.clone();
                            return Err(ParkedError::Stalled { queue, ready });
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the running consumer will be sent nothing more.
    pub(super) fn is_full(&self) -> bool {
        let full = |window: &Window| window.held() >= u64::from(window.size);
        self.window.as_ref().is_none_or(full)
    }

    /// Takes a message off the queue for good. See [`Scan::unheard`].
    pub(super) async fn take_off(&mut self, tag: u64) -> Result<(), ParkedError> {
        self.unheard += 1;
        self.ack(tag).await
    }

    /// How many were taken off the queue without the broker's having shown that it knows: these may
    /// still be there.
    pub(super) fn unheard(&self) -> u64 {
        self.unheard
    }

    /// Makes the broker show what it knows. It does not answer acknowledgements, but it handles
    /// what comes on a channel in order, so the answer to anything later is one to them as well.
    pub(super) async fn hear(&mut self) -> Result<(), ParkedError> {
        if self.unheard > 0 {
            let asking = self.channel.basic_qos(1, BasicQosOptions::default());
            bounded(LIMIT, "hearing of acknowledgements", asking).await?;
            self.unheard = 0;
        }
        Ok(())
    }

    /// How many are here that were sent before the consumer ended.
    pub(super) fn ahead(&self) -> usize {
        self.ahead.len()
    }

    /// Acknowledges a message.
    pub(super) async fn ack(&mut self, tag: u64) -> Result<(), ParkedError> {
        let acking = self.channel.basic_ack(tag, BasicAckOptions::default());
        bounded(LIMIT, "acknowledging", acking).await?;
        self.acked += 1;
        if let Some(window) = self.window.as_mut().filter(|window| tag >= window.first) {
            window.acked += 1;
        }
        Ok(())
    }

    /// Takes nothing more, and hands out what had been sent ahead: each of these will have been
    /// given back once more at the end.
    pub(super) async fn stop_taking(&mut self) -> Result<VecDeque<Taken>, ParkedError> {
        self.close_window().await?;
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Gives back all that was not acknowledged, and waits a little until the next one to look can
    /// see it.
    pub(super) async fn give_back(mut self) -> Result<(), ParkedError> {
        self.close_window().await?;
        let options = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        let nacking = self.channel.basic_nack(0, options);
        bounded(LIMIT, "giving messages back", nacking).await?;
        let closing = self.channel.close(200, "done".into());
        bounded(LIMIT, "closing a channel", closing).await?;
        let held = self.last.saturating_sub(self.acked);
        let since = Instant::now();
        while held > 0 && since.elapsed() < VISIBLE {
            let (ready, _) = look::count(self.connection, &self.queue).await?;
            if u64::from(ready) >= held {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn arrived(&mut self) -> Option<Taken> {
        let next = self.window.as_mut()?.consumer.next().now_or_never()?;
        Some(self.note(next?.ok()?))
    }

    fn note(&mut self, delivery: Delivery) -> Taken {
        self.last = self.last.max(delivery.delivery_tag);
        self.bytes = self.bytes.saturating_add(delivery.data.len() as u64);
        if let Some(window) = &mut self.window {
            window.delivered += 1;
        }
        Taken {
            tag: delivery.delivery_tag,
            message: Message {
                exchange: delivery.exchange,
                routing_key: delivery.routing_key,
                redelivered: delivery.redelivered,
                properties: delivery.properties,
                body: Bytes::from(delivery.data),
            },
        }
    }

    /// Sees to it that a consumer has room.
    async fn turn(&mut self, wanted: u64) -> Result<(), ParkedError> {
        let size = self.size(wanted);
        if let Some(window) = &self.window {
            let held = window.held();
            // One that is much too small now, since its messages turned out to be, makes way too.
            let small = window.size < size / 2 && window.delivered >= u64::from(window.size);
            if held < u64::from(window.size) && !small {
                return Ok(());
            }
            self.close_window().await?;
            if !self.ahead.is_empty() {
                return Ok(());
            }
        }
        self.open_window(size).await
    }

    fn size(&self, wanted: u64) -> u16 {
        let mean = self.bytes.checked_div(self.last);
        let fitting = mean.map_or(FIRST_WINDOW, |mean| {
            u16::try_from(AHEAD / mean.max(1)).unwrap_or(LARGEST_WINDOW)
        });
        let most = u16::try_from(wanted.min(self.left)).unwrap_or(u16::MAX);
        fitting.clamp(1, LARGEST_WINDOW).min(most).max(1)
    }

    async fn open_window(&mut self, size: u16) -> Result<(), ParkedError> {
        self.windows += 1;
        let qos = self.channel.basic_qos(size, BasicQosOptions::default());
        bounded(LIMIT, "setting the prefetch", qos).await?;
        self.unheard = 0;
        // A quorum queue takes messages back consumer by consumer, in the order of these names.
        let tag = short(&format!("hareway-look-{:08}", self.windows))?;
        let consuming = self.channel.basic_consume(
            short(&self.queue)?,
            tag,
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = bounded(LIMIT, "starting a consumer", consuming).await?;
        self.window = Some(Window {
            consumer,
            size,
            first: self.last + 1,
            delivered: 0,
            acked: 0,
        });
        Ok(())
    }

    /// Ends the running consumer; what it was sent is handed out by and by.
    pub(super) async fn close_window(&mut self) -> Result<(), ParkedError> {
        let Some(window) = &self.window else {
            return Ok(());
        };
        let tag: ShortString = window.consumer.tag();
        let cancelling = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        // This is no answer to acknowledgements: the client library says "cancelled" as well where the
        // connection was lost before the broker could.
        bounded(LIMIT, "cancelling a consumer", cancelling).await?;
        // A cancel-ok comes after the last delivery, so everything is here by now.
        while let Some(taken) = self.arrived() {
            self.ahead.push_back(taken);
        }
        self.window = None;
        Ok(())
    }

    fn ended(&self) -> ParkedError {
        let queue = &self.queue;
        match self.channel.status().connected() {
            true => Error::Channel(format!(
                "the broker cancelled the consumer of queue `{queue}`"
            )),
            false => Error::Connection("the channel was closed".to_owned()),
        }
        .into()
    }
}
