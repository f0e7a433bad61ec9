//! Which deliveries of a channel are settled, and the fewest frames that tell the broker.
//!
//! A frame for each message costs the broker and this process more than the message itself, and one
//! cumulative frame may stand for many: for every tag up to its own. So a success is owed to the
//! broker for a moment, until enough others stand before it or it has waited long enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

/// How long an acknowledgement may be owed: what a crash adds to the messages that come again.
const PATIENCE: Duration = Duration::from_millis(2);
/// No frame has to stand for more.
const BATCH_MAX: usize = 64;

/// The delivery tags of one channel with one consumer: 1, 2, 3, …
///
/// What is settled at the broker is in none of the tables, so they are bounded by the prefetch,
/// however long a single delivery stays open.
#[derive(Debug)]
pub(super) struct Unsettled {
    /// Delivered, and not known to be done.
    open: BTreeSet<u64>,
    /// Some of the open ones: they are to be given back.
    unwanted: Vec<u64>,
    /// Done, since when, and the broker does not know yet.
    owed: BTreeMap<u64, Instant>,
    /// The longest that any of these has waited.
    owed_since: Option<Instant>,
    /// So many are worth a frame of their own.
    batch: usize,
}

/// What the broker is told. The order matters: a cumulative frame would cover a tag that is given
/// back only after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// `basic.ack` of this tag.
    Ack(u64),
    /// `basic.ack` of this tag and every earlier one.
    AckUpTo(u64),
    /// `basic.nack`, to be queued again.
    Requeue(u64),
}

impl Unsettled {
    /// For a channel to which the broker sends `prefetch` deliveries ahead.
    pub(super) fn new(prefetch: u16) -> Self {
        Self {
            open: BTreeSet::new(),
            unwanted: Vec::new(),
            owed: BTreeMap::new(),
            owed_since: None,
            // What is owed takes room of the prefetch; most of it has to be left to the others.
            batch: (usize::from(prefetch) / 4).clamp(1, BATCH_MAX),
        }
    }

    pub(super) fn delivered(&mut self, tag: u64) {
        self.open.insert(tag);
    }

    /// Notes a success.
    pub(super) fn done(&mut self, tag: u64, now: Instant) {
        if self.open.remove(&tag) {
            self.owed.insert(tag, now);
            self.owed_since.get_or_insert(now);
        }
    }

    /// Notes a tag that goes back to its queue, which is told without delay.
    pub(super) fn give_back(&mut self, tag: u64) {
        self.unwanted.push(tag);
    }

    /// How many deliveries the broker still waits for.
    pub(super) fn outstanding(&self) -> usize {
        self.open.len() + self.owed.len()
    }

    /// When the broker is to be told something, if anything. A moment that has passed means now.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if !self.unwanted.is_empty() {
            return Some(now);
        }
        let since = self.owed_since?;
        let enough = self.owed.len() >= 2 * self.batch
            || self.owed.range(..self.first_open()).count() >= self.batch;
        Some(if enough { now } else { since + PATIENCE })
    }

    /// The frames for what is due: one for all that no open delivery stands before, and one for each
    /// of the others that has waited long enough, or all of them where they take too much room.
    pub(super) fn frames(&mut self, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(self.unwanted.len() + 1);
        for tag in self.unwanted.drain(..) {
            if self.open.remove(&tag) {
                frames.push(Frame::Requeue(tag));
            }
        }
        let behind = self.owed.split_off(&self.first_open());
        let run = std::mem::replace(&mut self.owed, behind);
        match run.last_key_value() {
            Some((tag, _)) if run.len() > 1 => frames.push(Frame::AckUpTo(*tag)),
            Some((tag, _)) => frames.push(Frame::Ack(*tag)),
            None => {}
        }
        let too_many = self.owed.len() >= self.batch;
        self.owed.retain(|tag, since| {
            let tell = too_many || now.saturating_duration_since(*since) >= PATIENCE;
            if tell {
                frames.push(Frame::Ack(*tag));
            }
            !tell
        });
        self.owed_since = self.owed.values().min().copied();
        frames
    }

    /// The frames for all that is done or unwanted.
    pub(super) fn all_frames(&mut self, now: Instant) -> Vec<Frame> {
        self.frames(now + PATIENCE)
    }

    /// Every earlier tag is done or given back.
    fn first_open(&self) -> u64 {
        self.open.first().copied().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
