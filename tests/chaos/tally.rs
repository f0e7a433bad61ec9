//! The sums of a round, and what they must be.

use std::{collections::BTreeMap, time::Duration};

#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub sent: usize,
    pub accepted: usize,
    pub spooled: usize,
    pub replied: usize,
    /// By status.
    pub refused: BTreeMap<u16, usize>,
    /// The connection ended before an answer.
    pub cut: usize,
    /// The client went away by itself.
    pub left: usize,
    /// Distinct ids that the backend answered with success.
    pub delivered: usize,
    /// In a parked queue at the end.
    pub parked: usize,
    /// In another queue at the end.
    pub queued: usize,
    /// Said to be safe, and nowhere.
    pub lost: usize,
    /// Deliveries beyond the first of an id, all under that id.
    pub duplicated: usize,
    pub misattributed: usize,
    /// Not answered by the deadline of the harness.
    pub hung: usize,
    /// The longest time without a success.
    pub accept_gap: Duration,
    pub call_gap: Duration,
    /// Further promises that did not hold.
    pub broken: Vec<String>,
    /// The first few ids behind the figures that must be 0.
    pub details: Vec<String>,
}

/// Whether an id may reach the backend more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    Never,
    /// At least once, under the same id.
    May,
}

/// How many ids are shown behind a figure.
const SHOWN: usize = 5;

// === impl Tally ===

impl Tally {
    pub fn detail(&mut self, text: String) {
        if self.details.len() < SHOWN {
            self.details.push(text);
        }
    }

    /// Every expectation that did not hold.
    pub fn violations(&self, repeats: Repeats) -> Vec<String> {
        let mut found = self.broken.clone();
        let must_be_none = [
            ("lost", self.lost),
            ("misattributed", self.misattributed),
            ("hung", self.hung),
        ];
        for (what, count) in must_be_none {
            if count > 0 {
                found.push(format!("{count} {what}"));
            }
        }
        if repeats == Repeats::Never && self.duplicated > 0 {
            found.push(format!("{} duplicated", self.duplicated));
        }
        if !found.is_empty() {
            found.extend(self.details.iter().cloned());
        }
        found
    }

    pub fn add(&mut self, round: &Self) {
        self.sent += round.sent;
        self.accepted += round.accepted;
        self.spooled += round.spooled;
        self.replied += round.replied;
        for (status, count) in &round.refused {
            *self.refused.entry(*status).or_default() += count;
        }
        self.cut += round.cut;
        self.left += round.left;
        self.delivered += round.delivered;
        self.parked += round.parked;
        self.queued += round.queued;
        self.lost += round.lost;
        self.duplicated += round.duplicated;
        self.misattributed += round.misattributed;
        self.hung += round.hung;
        self.accept_gap = self.accept_gap.max(round.accept_gap);
        self.call_gap = self.call_gap.max(round.call_gap);
        self.broken.extend(round.broken.iter().cloned());
        self.details.extend(round.details.iter().cloned());
    }
}
