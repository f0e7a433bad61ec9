//! The rounds of a walk. Each takes messages, does with them what is wanted, and gives back all
//! others at its end, at the latest after some minutes.

use std::time::SystemTime;

use lapin::types::ShortString;
use tokio_util::sync::CancellationToken;

use super::{
    Deed, Facts, Job, ParkedError, Report, Reporter, Tally, Tool,
    destination::{renewed, replayed},
    moves::{Moved, Moves, Purpose},
    pace::Paced,
    scan::{Scan, Taken},
    tried::Tried,
};
use crate::{amqp::Outcome, message::names};

/// Copies without a confirm at once, unless the pace says one by one.
const UNDER_WAY: usize = 64;
/// Messages, and bytes of their bodies, that wait to be put back as copies.
const TIRED: usize = 512;
const TIRED_BYTES: usize = 8 * 1024 * 1024;

pub(super) struct Walk<'a> {
    pub tool: &'a Tool,
    pub job: &'a Job,
    pub queue: ShortString,
    pub renew_at: Option<i64>,
    /// On the copies that this walk puts back: of messages that it has looked at, and of others.
    pub marks: [String; 2],
    pub tally: &'a mut Tally,
    pub report: &'a mut Reporter<'a>,
    pub moves: Moves<'a>,
    /// To be put back as copies.
    pub tired: Vec<Tired>,
    pub paced: Paced,
    pub tried: Tried,
    /// Looked at, and put back as copies.
    pub behind: u64,
    /// Taken off or behind when the round began: a round meets what is left of the rounds before.
    pub begun_with: u64,
    /// Looked at in this round.
    pub met: u64,
    /// Could not be put back as copies in this round.
    pub worn: u64,
}

/// Given back so often that it is better put back as a copy.
pub(super) struct Tired {
    taken: Taken,
    /// Whether this walk has looked at it.
    seen: bool,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    /// It has lasted long enough, and not all has been seen.
    Pause,
}

impl Walk<'_> {
    /// One scan, at whose end all that it holds is given back.
    pub(super) async fn round(&mut self, stop: &CancellationToken) -> Result<Ended, ParkedError> {
        let budget = self.tally.messages.saturating_sub(self.taken_off());
        self.begun_with = self.taken_off() + self.behind;
        (self.met, self.worn) = (0, 0);
        self.tried.begin_round();
        let mut scan = Scan::open(&self.tool.connection, &self.job.queue, budget).await?;
        let passed = self.pass(&mut scan, stop).await;
        // Also after a failure: as long as there is a channel, all goes back in good order.
        let finished = self.finish(&mut scan).await;
        let heard = scan.hear().await;
        let unknown = scan.unheard();
        self.tally.unknown += unknown;
        if self.job.deed == Deed::Discard {
            self.tally.discarded -= unknown;
        }
        let back = scan.give_back().await;
        let ended = passed?;
        finished?;
        heard?;
        back?;
        Ok(ended)
    }

    async fn pass(
        &mut self,
        scan: &mut Scan<'_>,
        stop: &CancellationToken,
    ) -> Result<Ended, ParkedError> {
        let begun_with = self.ended();
        loop {
            while let Some(moved) = self.moves.ready() {
                self.settle(scan, moved).await?;
            }
            if self.is_over() || stop.is_cancelled() {
                return Ok(Ended::Done);
            }
            // Only after some progress: a round that made none would be followed by its like. What
            // is under way comes to its end before the round does.
            let progress = self.ended() > begun_with || self.moves.len() > 0;
            let round = self.tool.holding.round;
            if progress && scan.age() > round {
                scan.close_window().await?;
                // What is given back unseen may come out of its order, so there is some patience.
                if scan.ahead() == 0 || scan.age() > round * 2 {
                    return Ok(Ended::Pause);
                }
            }
            let wait = self.paced.wait();
            if wait > self.tool.holding.wait {
                return Ok(Ended::Pause);
            }
            if !wait.is_zero() {
                self.idle(scan, stop).await?;
                continue;
            }
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
                    None => scan.next(self.wanted(), stop).await?,
                },
            };
            match next {
                Some(taken) => self.take(scan, taken).await?,
                None => return Ok(Ended::Done),
            }
        }
    }

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        let enough = self
            .job
            .limit
            .is_some_and(|limit| limit <= self.tally.matched);
        enough || self.tally.remaining == 0
    }

    /// How many may be taken ahead; each that is given back unseen is the nearer to its queue's
    /// delivery limit.
    fn wanted(&self) -> u64 {
        if !self.job.filter.is_all() {
            return u64::MAX;
        }
        let left = self
            .job
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.tally.matched));
        let turns = self.paced.turns(self.tool.holding.round);
        left.min(turns).saturating_add(self.tried.unmet())
    }

    /// Until the next turn, or until something under way has come to its end.
    async fn idle(
        &mut self,
        scan: &mut Scan<'_>,
        stop: &CancellationToken,
    ) -> Result<(), ParkedError> {
        tokio::select! {
            _ = self.paced.turn(stop) => Ok(()),
            Some(moved) = self.moves.next() => self.settle(scan, moved).await,
        }
    }

    async fn take(&mut self, scan: &mut Scan<'_>, taken: Taken) -> Result<(), ParkedError> {
        if self.is_own(&taken) {
            self.keep(taken, true);
            return Ok(());
        }
        self.met += 1;
        self.tally.scanned = self.tally.scanned.max(self.begun_with + self.met);
        self.tally.remaining = self.tally.messages.saturating_sub(self.tally.scanned);
        let facts = Facts::of(&taken.message);
        let filter = &self.job.filter;
        let matches = filter.matches(&taken.message, &facts, SystemTime::now());
        if !matches || self.tried.met(&taken.message, &facts) {
            (self.report)(Report::Progress(self.tally));
            self.keep(taken, true);
            return Ok(());
        }
        self.paced.take();
        self.tally.matched += 1;
        (self.report)(Report::Matched(&taken.message, &facts));
        match &self.job.deed {
            Deed::Look => self.keep(taken, true),
            Deed::Discard => {
                self.tally.discarded += 1;
                scan.take_off(taken.tag).await?;
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
                    self.failed(&taken, &facts, no_way.to_string());
                    self.keep(taken, true);
                }
            },
        }
        (self.report)(Report::Progress(self.tally));
        Ok(())
    }

    async fn settle(&mut self, scan: &mut Scan<'_>, moved: Moved) -> Result<(), ParkedError> {
        let Moved {
            taken,
            purpose,
            outcome,
        } = moved;
        match (purpose, outcome) {
            (Purpose::Renew { seen }, Outcome::Routed) => {
                self.behind += u64::from(seen && !self.is_own(&taken));
                scan.ack(taken.tag).await
            }
            // It goes back once more as it is; the limit's other half is for such times.
            (Purpose::Renew { .. }, _) => {
                self.worn += 1;
                self.tally.worn = self.tally.worn.max(self.worn);
                Ok(())
            }
            (Purpose::Replay { .. }, Outcome::Routed) => {
                self.tally.replayed += 1;
                scan.take_off(taken.tag).await?;
                (self.report)(Report::Progress(self.tally));
                Ok(())
            }
            (Purpose::Replay { facts, to }, outcome) => {
                let label = outcome.label();
                self.failed(&taken, &facts, format!("{label}: {to}"));
                match outcome {
                    Outcome::Unroutable
                    | Outcome::Nacked
                    | Outcome::TooLarge
                    | Outcome::Refused(_) => {
                        self.keep(taken, true);
                        Ok(())
                    }
                    // The next would fare no better.
                    _ => Err(ParkedError::Publish(label)),
                }
            }
        }
    }

    /// Leaves a message where it is. One that has been given back often is put back as a copy.
    fn keep(&mut self, taken: Taken, seen: bool) {
        if self.renew_at.is_none_or(|count| taken.returns() < count) {
            return;
        }
        // A copy of this walk's own has been looked at, though perhaps not in this round.
        let seen = seen || self.is_own(&taken);
        self.tired.push(Tired { taken, seen });
    }

    fn is_tired(&self, scan: &Scan<'_>) -> bool {
        let bytes = self
            .tired
            .iter()
            .map(|tired| tired.taken.message.body.len())
            .sum::<usize>();
        let many = self.tired.len() >= TIRED || bytes >= TIRED_BYTES;
        many || !self.tired.is_empty() && scan.is_full()
    }

    /// Puts messages back as copies. No consumer may run meanwhile: with the room that each
    /// acknowledgement makes it would be sent the copies.
    async fn renew(&mut self, scan: &mut Scan<'_>) -> Result<(), ParkedError> {
        let mut first = Ok(());
        while !self.tired.is_empty() || self.moves.len() > 0 {
            for Tired { taken, seen } in std::mem::take(&mut self.tired) {
                let [looked_at, other] = &self.marks;
                let mark = if seen { looked_at } else { other };
                let facts = Facts::of(&taken.message);
                let publish = renewed(&taken.message, &facts, self.queue.clone(), mark);
                self.moves.start(taken, Purpose::Renew { seen }, publish);
            }
            while let Some(moved) = self.moves.next().await {
                let settled = self.settle(scan, moved).await;
                first = first.and(settled);
            }
        }
        first
    }

    fn failed(&mut self, taken: &Taken, facts: &Facts, why: String) {
        self.tally.failed += 1;
        self.tried.add(&taken.message, facts);
        (self.report)(Report::Failed { facts, why });
    }

    /// Whether this walk has put it back itself, having looked at it.
    fn is_own(&self, taken: &Taken) -> bool {
        let [looked_at, _] = &self.marks;
        taken.message.header_text(names::RENEWED).as_deref() == Some(looked_at.as_str())
    }

    fn taken_off(&self) -> u64 {
        self.tally.replayed + self.tally.discarded
    }

    /// Messages with which this walk is done.
    fn ended(&self) -> u64 {
        self.taken_off() + self.tally.failed
    }

    /// Brings to its end what is under way, with what was sent ahead and never looked at.
    async fn finish(&mut self, scan: &mut Scan<'_>) -> Result<(), ParkedError> {
        let ahead = scan.stop_taking().await;
        let stopped =
            ahead.map(|ahead| ahead.into_iter().for_each(|taken| self.keep(taken, false)));
        let renewed = self.renew(scan).await;
        stopped.and(renewed)
    }
}
