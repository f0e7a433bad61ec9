//! A pass with a purpose: look at what a queue holds, replay it, discard it.

use std::time::{Duration, SystemTime};

use lapin::types::ShortString;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    Destination, Facts, Filter, Pace, ParkedError, Tool,
    destination::{renewed, replayed},
    look::{self, short},
    moves::{Moved, Moves, Purpose},
    pace::Paced,
    scan::{Scan, Taken},
};
use crate::{
    amqp::Outcome,
    message::{Message, names},
};

/// Copies without a confirm at once, unless the pace says one by one.
const UNDER_WAY: usize = 64;
/// Messages, and bytes of their bodies, that wait to be put back as copies.
const TIRED: usize = 512;
const TIRED_BYTES: usize = 8 * 1024 * 1024;
/// Long work gives everything back now and then: brokers close a channel that keeps a message
/// unacknowledged for 30 minutes.
const ROUND: Duration = Duration::from_secs(10 * 60);

/// What is done, to which messages of one queue.
#[derive(Debug, Clone)]
pub struct Job {
    pub queue: String,
    pub filter: Filter,
    /// Messages that match are left alone beyond so many.
    pub limit: Option<u64>,
    pub deed: Deed,
}

/// What is done with each message that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It is told, and stays.
    Look,
    /// A copy is published and confirmed, then it is taken off the queue.
    Replay { to: Destination, pace: Option<Pace> },
    /// It is taken off the queue.
    Discard,
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Messages in the queue at the start.
    pub messages: u64,
    /// Looked at.
    pub scanned: u64,
    pub matched: u64,
    pub replayed: u64,
    pub discarded: u64,
    /// Matched, but could not be replayed; they stay.
    pub failed: u64,
    /// Could not be put back as copies: each further look brings them nearer to their queue's
    /// delivery limit.
    pub worn: u64,
    /// Not looked at.
    pub remaining: u64,
}

/// What is told while it goes on.
#[derive(Debug)]
pub enum Report<'a> {
    /// A message matches.
    Matched(&'a Message, &'a Facts),
    /// A message could not be replayed, and stays.
    Failed { facts: &'a Facts, why: String },
    /// Another message has been looked at or moved.
    Progress(&'a Tally),
}

/// Who is told.
pub type Reporter<'a> = dyn FnMut(Report<'_>) + Send + 'a;

struct Walk<'a> {
    tool: &'a Tool,
    job: &'a Job,
    queue: ShortString,
    renew_at: Option<i64>,
    /// On the copies that this walk puts back.
    mark: String,
    tally: &'a mut Tally,
    report: &'a mut Reporter<'a>,
    moves: Moves<'a>,
    /// To be put back as copies.
    tired: Vec<Taken>,
    paced: Paced,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// It has lasted long enough, and not all has been seen.
    Pause,
}

impl Tool {
    /// Goes over a queue once: at most over as many messages as it holds now. `stop` ends it early
    /// and in order. `tally` says what was done, also where that ends with an error.
    ///
    /// # Errors
    /// See [`ParkedError`]. Whatever was not acknowledged is in its queue.
    pub async fn walk<'a>(
        &'a self,
        job: &'a Job,
        stop: &CancellationToken,
        tally: &'a mut Tally,
        report: &'a mut Reporter<'a>,
    ) -> Result<(), ParkedError> {
        let looked = self.look(&job.queue).await?;
        let pace = match &job.deed {
            Deed::Replay { pace, .. } => *pace,
            Deed::Look | Deed::Discard => None,
        };
        tally.messages = looked.messages.into();
        tally.remaining = tally.messages;
        let mut walk = Walk {
            tool: self,
            job,
            queue: short(&job.queue)?,
            renew_at: looked.renew_at,
            mark: crate::message::new_id().to_string(),
            tally,
            report,
            moves: Moves::new(&self.publisher),
            tired: Vec::new(),
            paced: Paced::new(pace),
        };
        let mut budget = walk.tally.messages;
        loop {
            let before = walk.taken_off();
            let ended = walk.round(budget, stop).await?;
            budget = budget.saturating_sub(walk.taken_off() - before);
            if ended == Ended::Done {
                return Ok(());
            }
        }
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn taken_off(&self) -> u64 {
        self.tally.replayed + self.tally.discarded
    }

    /// One scan, at whose end all that it holds is given back.
    async fn round(&mut self, budget: u64, stop: &CancellationToken) -> Result<Ended, ParkedError> {
        let mut scan = Scan::open(&self.tool.connection, &self.job.queue, budget).await?;
        let passed = self.pass(&mut scan, stop).await;
        // Also after a failure: as long as there is a channel, all goes back in good order.
        let finished = self.finish(&mut scan).await;
        let back = scan.give_back().await;
        let ended = passed?;
        finished?;
        back?;
        Ok(ended)
    }

    async fn pass(
        &mut self,
        scan: &mut Scan<'_>,
        stop: &CancellationToken,
    ) -> Result<Ended, ParkedError> {
        loop {
            while let Some(moved) = self.moves.ready() {
                self.settle(scan, moved).await?;
            }
            let wanted = match self.job.limit {
                Some(limit) if limit <= self.tally.matched => return Ok(Ended::Done),
                Some(limit) if self.job.filter.is_all() => limit - self.tally.matched,
                _ => u64::MAX,
            };
            let full = if self.paced.is_set() { 1 } else { UNDER_WAY };
            let here = match self.moves.len() < full {
                true => scan.ready(),
                false => None,
            };
            let next = match here {
                Some(taken) => Some(taken),
                // Nothing is here, or enough is under way: let that come to its end.
                None => match self.moves.next().await {
                    Some(moved) => {
                        self.settle(scan, moved).await?;
                        continue;
                    }
                    None if self.is_tired(scan) => {
                        scan.close_window().await?;
                        self.renew(scan).await?;
                        continue;
                    }
                    None => scan.next(wanted, stop).await?,
                },
            };
            let Some(taken) = next else {
                return Ok(Ended::Done);
            };
            if !self.take(scan, taken, stop).await? || stop.is_cancelled() {
                return Ok(Ended::Done);
            }
            // Only after some progress: a round that made none would be followed by its like.
            if scan.age() > ROUND && scan.acked() > 0 && self.job.deed != Deed::Look {
                return Ok(Ended::Pause);
            }
        }
    }

    /// `false`: enough.
    async fn take(
        &mut self,
        scan: &mut Scan<'_>,
        taken: Taken,
        stop: &CancellationToken,
    ) -> Result<bool, ParkedError> {
        // What this walk has put back itself is behind everything that was there at its start.
        if taken.message.header_text(names::RENEWED).as_deref() == Some(self.mark.as_str()) {
            return Ok(false);
        }
        self.tally.scanned += 1;
        self.tally.remaining = self.tally.messages.saturating_sub(self.tally.scanned);
        let facts = Facts::of(&taken.message);
        if !self
            .job
            .filter
            .matches(&taken.message, &facts, SystemTime::now())
        {
            (self.report)(Report::Progress(self.tally));
            self.keep(taken);
            return Ok(true);
        }
        if !self.paced.turn(stop).await {
            self.keep(taken);
            return Ok(false);
        }
        self.tally.matched += 1;
        (self.report)(Report::Matched(&taken.message, &facts));
        match &self.job.deed {
            Deed::Look => self.keep(taken),
            Deed::Discard => {
                scan.ack(taken.tag).await?;
                self.tally.discarded += 1;
            }
            Deed::Replay { to, .. } => match to.way(&taken.message, &facts, &self.job.queue) {
                Ok(way) => {
                    let shown = way.to_string();
                    let publish = replayed(&taken.message, &facts, way, SystemTime::now());
                    let facts = Box::new(facts);
                    let purpose = Purpose::Replay { facts, to: shown };
                    self.moves.start(taken, purpose, publish);
                }
                Err(no_way) => {
                    self.failed(&facts, no_way.to_string());
                    self.keep(taken);
                }
            },
        }
        (self.report)(Report::Progress(self.tally));
        Ok(true)
    }

    async fn settle(&mut self, scan: &mut Scan<'_>, moved: Moved) -> Result<(), ParkedError> {
        let Moved {
            taken,
            purpose,
            outcome,
        } = moved;
        match (purpose, outcome) {
            (Purpose::Renew, Outcome::Routed) => scan.ack(taken.tag).await,
            // It goes back once more as it is; the limit's other half is for such times.
            (Purpose::Renew, _) => {
                self.tally.worn += 1;
                Ok(())
            }
            (Purpose::Replay { .. }, Outcome::Routed) => {
                scan.ack(taken.tag).await?;
                self.tally.replayed += 1;
                (self.report)(Report::Progress(self.tally));
                Ok(())
            }
            (Purpose::Replay { facts, to }, outcome) => {
                let label = outcome.label();
                self.failed(&facts, format!("{label}: {to}"));
                match outcome {
                    Outcome::Unroutable
                    | Outcome::Nacked
                    | Outcome::TooLarge
                    | Outcome::Refused(_) => {
                        self.keep(taken);
                        Ok(())
                    }
                    // The next would fare no better.
                    _ => Err(ParkedError::Publish(label)),
                }
            }
        }
    }

    /// Leaves a message where it is. One that has been given back often is put back as a copy.
    fn keep(&mut self, taken: Taken) {
        if self.renew_at.is_none_or(|count| taken.returns() < count) {
            return;
        }
        self.tired.push(taken);
    }

    fn is_tired(&self, scan: &Scan<'_>) -> bool {
        let bytes = self
            .tired
            .iter()
            .map(|taken| taken.message.body.len())
            .sum::<usize>();
        let many = self.tired.len() >= TIRED || bytes >= TIRED_BYTES;
        many || !self.tired.is_empty() && scan.is_full()
    }

    /// Puts messages back as copies. No consumer may run meanwhile: with the room that each
    /// acknowledgement makes it would be sent the copies.
    async fn renew(&mut self, scan: &mut Scan<'_>) -> Result<(), ParkedError> {
        let mut first = Ok(());
        while !self.tired.is_empty() || self.moves.len() > 0 {
            for taken in std::mem::take(&mut self.tired) {
                let facts = Facts::of(&taken.message);
                let publish = renewed(&taken.message, &facts, self.queue.clone(), &self.mark);
                self.moves.start(taken, Purpose::Renew, publish);
            }
            while let Some(moved) = self.moves.next().await {
                let settled = self.settle(scan, moved).await;
                first = first.and(settled);
            }
        }
        first
    }

    fn failed(&mut self, facts: &Facts, why: String) {
        self.tally.failed += 1;
        (self.report)(Report::Failed { facts, why });
    }

    /// Brings to its end what is under way, with what was sent ahead and never looked at.
    async fn finish(&mut self, scan: &mut Scan<'_>) -> Result<(), ParkedError> {
        let ahead = scan.stop_taking().await;
        let stopped = ahead.map(|ahead| ahead.into_iter().for_each(|taken| self.keep(taken)));
        let renewed = self.renew(scan).await;
        stopped.and(renewed)
    }
}

impl Tool {
    /// What the queue holds, without taking anything off it.
    ///
    /// # Errors
    /// It does not exist, is exclusive or a stream, or may not be looked at.
    pub async fn look(&self, queue: &str) -> Result<look::Looked, ParkedError> {
        look::look(&self.connection, queue).await
    }

    /// How many messages of the queue are ready.
    ///
    /// # Errors
    /// It does not exist or is exclusive.
    pub async fn count(&self, queue: &str) -> Result<u32, ParkedError> {
        Ok(look::count(&self.connection, queue).await?.0)
    }
}
