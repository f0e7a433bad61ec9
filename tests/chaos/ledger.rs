//! What became of every id of a round, as each end saw it.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::{body::id_of, support::amqp::Got, tally::Tally};

/// Which promise an id was sent under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Accepted, and delivered to the backend.
    Accept,
    /// Request and reply.
    Call,
}

/// How a call ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Spooled,
    /// With its own reply.
    Replied,
    Refused(u16),
    /// The connection ended first.
    Broken,
    /// The client itself went away.
    Left,
    /// Nothing at all by the deadline of the harness.
    Hung,
}

#[derive(Debug)]
struct Fate {
    flow: Flow,
    answer: Option<(Instant, Answer)>,
    /// When the broker had its reply.
    reply: Option<Instant>,
    /// Calls of the backend that it answered with success.
    delivered: u32,
    parked: u32,
    queued: u32,
}

/// Shared by everything that sees ids.
#[derive(Debug)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug)]
struct Book {
    opened: Instant,
    fates: BTreeMap<String, Fate>,
    /// One line for each thing that reached somebody it does not belong to.
    wrong: Vec<String>,
    /// Other broken promises, each a line.
    broken: Vec<String>,
    /// Calls of the backend that it did not answer with success.
    failed: usize,
}

/// Where a message was found in the broker at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Queue,
    Parked,
}

// === impl Answer ===

impl Answer {
    pub fn is_success(self) -> bool {
        matches!(self, Self::Accepted | Self::Spooled | Self::Replied)
    }
}

// === impl Ledger ===

impl Default for Ledger {
    fn default() -> Self {
        Self(Mutex::new(Book {
            opened: Instant::now(),
            fates: BTreeMap::new(),
            wrong: Vec::new(),
            broken: Vec::new(),
            failed: 0,
        }))
    }
}

impl Ledger {
    pub fn sent(&self, id: &str, flow: Flow) {
        let fate = Fate {
            flow,
            answer: None,
            reply: None,
            delivered: 0,
            parked: 0,
            queued: 0,
        };
        let before = self.0.lock().unwrap().fates.insert(id.to_owned(), fate);
        assert!(before.is_none(), "{id} is sent twice by the harness");
    }

    pub fn answered(&self, id: &str, answer: Answer) {
        let mut book = self.0.lock().unwrap();
        if let Some(fate) = book.fates.get_mut(id) {
            fate.answer = Some((Instant::now(), answer));
        }
    }

    /// A call of the backend; `success` where it was told so.
    pub fn delivered(&self, body: &[u8], message_id: &str, success: bool) {
        self.0.lock().unwrap().failed += usize::from(!success);
        self.meet("the backend", body, message_id, |fate| {
            fate.delivered += u32::from(success);
        });
    }

    /// Calls of the backend that it did not answer with success.
    pub fn refused_by_backend(&self) -> usize {
        self.0.lock().unwrap().failed
    }

    /// A request that a worker takes.
    pub fn asked(&self, got: &Got) -> bool {
        self.meet("the worker", &got.body, got.message_id(), |_| {})
    }

    /// The broker has confirmed the reply to this request.
    pub fn replied(&self, id: &str) {
        let mut book = self.0.lock().unwrap();
        if let Some(fate) = book.fates.get_mut(id) {
            fate.reply.get_or_insert_with(Instant::now);
        }
    }

    /// Calls that were told that no reply came, this long or longer after the broker had it.
    pub fn missed(&self, slack: Duration) -> usize {
        let book = self.0.lock().unwrap();
        let missed = book.fates.values().filter(|fate| {
            let late = |(at, answer)| {
                let reply = fate.reply;
                answer == Answer::Refused(504) && reply.is_some_and(|reply| reply + slack <= at)
            };
            fate.answer.is_some_and(late)
        });
        missed.count()
    }

    pub fn found(&self, place: Place, got: &Got) {
        self.meet("a queue", &got.body, got.message_id(), |fate| match place {
            Place::Queue => fate.queued += 1,
            Place::Parked => fate.parked += 1,
        });
    }

    /// Something reached somebody it does not belong to.
    pub fn wrong(&self, text: String) {
        self.0.lock().unwrap().wrong.push(text);
    }

    /// Another promise was broken.
    pub fn broken(&self, text: String) {
        self.0.lock().unwrap().broken.push(text);
    }

    /// Ids that were said to be safe, and have not reached the backend.
    pub fn underway(&self) -> Vec<String> {
        let book = self.0.lock().unwrap();
        let missing = book.fates.iter().filter(|(_, fate)| {
            fate.is_accepted() && fate.delivered == 0 && fate.parked + fate.queued == 0
        });
        missing.map(|(id, _)| id.clone()).collect()
    }

    /// Answers of success on this flow so far.
    pub fn successes(&self, flow: Flow) -> usize {
        self.count(flow, Answer::is_success)
    }

    pub fn count(&self, flow: Flow, which: impl Fn(Answer) -> bool) -> usize {
        let book = self.0.lock().unwrap();
        let all = book.fates.values().filter(|fate| fate.flow == flow);
        all.filter(|fate| fate.answer.is_some_and(|(_, answer)| which(answer)))
            .count()
    }

    /// What this flow was refused with, and when after the scene was opened.
    pub fn statuses(&self, flow: Flow) -> Vec<(u16, Duration)> {
        let book = self.0.lock().unwrap();
        let all = book.fates.values().filter(|fate| fate.flow == flow);
        let refused = all.filter_map(|fate| match fate.answer {
            Some((at, Answer::Refused(status))) => Some((status, at - book.opened)),
            _ => None,
        });
        refused.collect()
    }

    /// Calls on this flow that wait for their answer.
    pub fn unanswered(&self, flow: Flow) -> usize {
        let book = self.0.lock().unwrap();
        let all = book.fates.values().filter(|fate| fate.flow == flow);
        all.filter(|fate| fate.answer.is_none()).count()
    }

    /// Distinct ids that the backend has answered with success.
    pub fn reached(&self) -> usize {
        let book = self.0.lock().unwrap();
        book.fates
            .values()
            .filter(|fate| fate.delivered > 0)
            .count()
    }

    fn meet(
        &self,
        whom: &str,
        body: &[u8],
        message_id: &str,
        note: impl FnOnce(&mut Fate),
    ) -> bool {
        let mut book = self.0.lock().unwrap();
        let said = match id_of(body) {
            Ok(id) if id == message_id => match book.fates.get_mut(&id) {
                Some(fate) => {
                    note(fate);
                    return true;
                }
                None => format!("{whom} got {id}, which nobody sent"),
            },
            Ok(id) => format!("{whom} got the body of {id} under the id {message_id}"),
            Err(error) => format!("{whom}: {error}, under the id {message_id}"),
        };
        book.wrong.push(said);
        false
    }

    /// The sums of a round whose traffic ended at `closed`.
    pub fn tally(&self, closed: Instant) -> Tally {
        let book = self.0.lock().unwrap();
        let mut tally = Tally {
            misattributed: book.wrong.len(),
            broken: book.broken.clone(),
            details: book.wrong.iter().take(5).cloned().collect(),
            accept_gap: book.longest_gap(Flow::Accept, closed),
            call_gap: book.longest_gap(Flow::Call, closed),
            ..Tally::default()
        };
        for (id, fate) in &book.fates {
            fate.add_to(&mut tally, id);
        }
        tally
    }
}

// === impl Book ===

impl Book {
    /// The longest time without a success on this flow; zero where nobody used it.
    fn longest_gap(&self, flow: Flow, closed: Instant) -> Duration {
        let all = self.fates.values().filter(|fate| fate.flow == flow);
        let mut times = Vec::new();
        for fate in all {
            match fate.answer {
                Some((at, answer)) if answer.is_success() => times.push(at),
                _ => {}
            }
        }
        if times.is_empty() {
            return Duration::ZERO;
        }
        times.extend([self.opened, closed]);
        times.sort_unstable();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

// === impl Fate ===

impl Fate {
    fn is_accepted(&self) -> bool {
        let answer = self.answer.map(|(_, answer)| answer);
        matches!(answer, Some(Answer::Accepted | Answer::Spooled))
    }

    fn add_to(&self, tally: &mut Tally, id: &str) {
        tally.sent += 1;
        match self.answer.map(|(_, answer)| answer) {
            Some(Answer::Accepted) => tally.accepted += 1,
            Some(Answer::Spooled) => tally.spooled += 1,
            Some(Answer::Replied) => tally.replied += 1,
            Some(Answer::Refused(status)) => *tally.refused.entry(status).or_default() += 1,
            Some(Answer::Broken) => tally.cut += 1,
            Some(Answer::Left) => tally.left += 1,
            None | Some(Answer::Hung) => {
                tally.hung += 1;
                tally.detail(format!("{id} was never answered"));
            }
        }
        tally.delivered += usize::from(self.delivered > 0);
        tally.duplicated += self.delivered.saturating_sub(1) as usize;
        tally.parked += usize::from(self.parked > 0);
        tally.queued += usize::from(self.queued > 0);
        if self.is_accepted() && self.delivered + self.parked + self.queued == 0 {
            tally.lost += 1;
            tally.detail(format!("{id} was accepted and is nowhere"));
        }
    }
}
