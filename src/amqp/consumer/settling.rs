//! Tells the broker what became of its deliveries.

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use lapin::{
    Channel,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Settle, Verdict,
    unsettled::{Frame, Unsettled},
};
use crate::amqp::error::{Error, bounded};

const LIMIT: Duration = Duration::from_secs(5);
/// Verdicts that are taken in one go.
const TAKE: usize = 256;

type Writing = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The settling of one channel's deliveries; nothing else writes their frames.
pub(super) struct Settling {
    channel: Arc<Channel>,
    unsettled: Unsettled,
    verdicts: mpsc::Receiver<(u64, Verdict)>,
    /// What every [`Settle`] of the channel reports to.
    settle: mpsc::Sender<(u64, Verdict)>,
    taken: Vec<(u64, Verdict)>,
    /// Frames on their way. Until they are written no others are begun: what is done meanwhile
    /// gathers for the next.
    writing: Option<Writing>,
    due: Pin<Box<Sleep>>,
}

impl Settling {
    /// Of a channel to which the broker sends `prefetch` deliveries ahead.
    pub(super) fn new(channel: Channel, prefetch: u16) -> Self {
        let (settle, verdicts) = mpsc::channel(usize::from(prefetch).max(1));
        Self {
            channel: Arc::new(channel),
            unsettled: Unsettled::new(prefetch),
            verdicts,
            settle,
            taken: Vec::new(),
            writing: None,
            due: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Notes a delivery; the answer is the right to settle it.
    pub(super) fn delivered(&mut self, tag: u64) -> Settle {
        self.unsettled.delivered(tag);
        Settle {
            tag,
            verdicts: self.settle.clone(),
            done: false,
        }
    }

    /// Whether the broker has been told of every delivery.
    pub(super) fn is_over(&self) -> bool {
        self.unsettled.outstanding() == 0 && self.writing.is_none()
    }

    /// Waits for the next thing to do, and begins it. To be called for ever, until
    /// [`Settling::is_over`] or an error. Cancel safe.
    ///
    /// # Errors
    /// The channel has failed.
    pub(super) async fn step(&mut self) -> Result<(), Error> {
        let waits = self.writing.is_none() && self.unsettled.due(Instant::now()).is_some();
        tokio::select! {
            biased;
            written = written(&mut self.writing) => {
                self.writing = None;
                written?;
            }
            // One sender is kept here, so there is always something to wait for.
            _ = self.verdicts.recv_many(&mut self.taken, TAKE) => self.note(),
            () = self.due.as_mut(), if waits => {}
        }
        if self.writing.is_none() {
            self.begin();
        }
        Ok(())
    }

    /// Tells the broker all that there is to tell.
    ///
    /// # Errors
    /// The channel has failed.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        if let Some(writing) = self.writing.take() {
            writing.await?;
        }
        while let Ok(verdict) = self.verdicts.try_recv() {
            self.taken.push(verdict);
        }
        self.note();
        let frames = self.unsettled.all_frames(Instant::now());
        write(self.channel.clone(), frames).await
    }

    fn note(&mut self) {
        let now = Instant::now();
        for (tag, verdict) in self.taken.drain(..) {
            match verdict {
                Verdict::Ack => self.unsettled.done(tag, now),
                Verdict::Requeue => self.unsettled.give_back(tag),
            }
        }
    }

    /// Begins to write what is due, or sets the clock for it.
    fn begin(&mut self) {
        let now = Instant::now();
        match self.unsettled.due(now) {
            Some(due) if due <= now => {
                let frames = self.unsettled.frames(now);
                self.writing = Some(Box::pin(write(self.channel.clone(), frames)));
            }
            Some(due) if self.due.deadline() != due => self.due.as_mut().reset(due),
            _ => {}
        }
    }
}

async fn written(writing: &mut Option<Writing>) -> Result<(), Error> {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

/// Writes the frames in their order, and waits until the last has left.
async fn write(channel: Arc<Channel>, frames: Vec<Frame>) -> Result<(), Error> {
    let mut unwritten = Vec::with_capacity(frames.len());
    for frame in frames {
        let mut sending = Box::pin(send(&channel, frame));
        // The first poll queues the frame, so that polling in order writes in order, without a
        // round trip to the connection's thread for each.
        match futures_util::poll!(sending.as_mut()) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => unwritten.push(sending),
        }
    }
    let leaving = async {
        for sending in unwritten {
            sending.await?;
        }
        Ok::<_, lapin::Error>(())
    };
    bounded(LIMIT, "settling deliveries", leaving).await
}

async fn send(channel: &Channel, frame: Frame) -> Result<(), lapin::Error> {
    let ack = |tag, multiple| channel.basic_ack(tag, BasicAckOptions { multiple });
    match frame {
        Frame::Ack(tag) => ack(tag, false).await,
        Frame::AckUpTo(tag) => ack(tag, true).await,
        Frame::Requeue(tag) => {
            let options = BasicNackOptions {
                requeue: true,
                multiple: false,
            };
            channel.basic_nack(tag, options).await
        }
    }
}
