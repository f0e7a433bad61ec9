//! A pass with a purpose: look at what a queue holds, replay it, discard it.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    Destination, Facts, Filter, Pace, ParkedError, Tool,
    look::{self, short},
    moves::Moves,
    pace::Paced,
    round::{Ended, Walk},
    tried::Tried,
};
use crate::message::{self, Message};

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
    /// Looked at, each counted once.
    pub scanned: u64,
    pub matched: u64,
    /// Copies that are confirmed.
    pub replayed: u64,
    /// Known to be off the queue.
    pub discarded: u64,
    /// Acknowledged, but the connection was lost before the broker had shown that it knows: they
    /// may still be in the queue. The copies of those that were replayed are in `replayed`.
    pub unknown: u64,
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

/// How long messages are held at most: brokers close a channel that keeps one unacknowledged for
/// longer than their consumer timeout, which is 30 minutes unless it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Long work gives everything back after so long, or twice as long at most, and goes on with a
    /// new round.
    pub round: Duration,
    /// Before a longer wait for the next turn it gives everything back as well.
    pub wait: Duration,
}

impl Default for Holding {
    fn default() -> Self {
        Self {
            round: Duration::from_secs(4 * 60),
            wait: Duration::from_secs(60),
        }
    }
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
            marks: [(); 2].map(|()| message::new_id().to_string()),
            tally,
            report,
            moves: Moves::new(&self.publisher),
            tired: Vec::new(),
            paced: Paced::new(pace),
            tried: Tried::default(),
            behind: 0,
            begun_with: 0,
            met: 0,
            worn: 0,
        };
        loop {
            let ended = walk.round(stop).await?;
            if ended == Ended::Done {
                return Ok(());
            }
            if walk.tried.is_full() {
                return Err(ParkedError::Failures(job.queue.clone()));
            }
            // Nothing is held meanwhile, however long it takes.
            if !walk.paced.turn(stop).await {
                return Ok(());
            }
        }
    }

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
