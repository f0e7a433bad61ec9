//! Whether a backend is worth calling: a circuit breaker.
//!
//! Closed: calls go through; `failures` bad ones in a row open it. Open: nothing goes through until
//! a pause is over. Half-open: one call goes through, the probe, and what comes of it closes the
//! circuit or opens it for twice as long.

use std::time::Duration;

use tokio::time::Instant;

/// The state of one backend. It learns of the time and of every outcome from its caller.
#[derive(Debug, Clone)]
pub struct Circuit {
    rule: Rule,
    state: State,
    /// Counts the changes of state. What a call says that was begun before the last change is said
    /// of a backend as it was then.
    era: u64,
}

/// When a circuit opens, and how it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Bad outcomes in a row that open it. 0 counts as 1.
    pub failures: u32,
    /// From opening to the first probe; doubled by every probe that fails.
    pub pause: Duration,
    /// The longest pause between two probes.
    pub pause_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed {
        /// Bad outcomes since the last good one.
        failures: u32,
    },
    Open {
        since: Instant,
        /// When the next probe may begin.
        until: Instant,
        pause: Duration,
    },
    HalfOpen {
        since: Instant,
        pause: Duration,
    },
}

/// Leave for one call, to be given to [`Circuit::record`] or [`Circuit::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe that is never recorded keeps the circuit half-open for ever"]
pub struct Ticket {
    era: u64,
    probe: bool,
}

/// The answer to a caller who wants to call the backend.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    Call(Ticket),
    /// The one call that tries the backend.
    Probe(Ticket),
    /// Not now: ask again then, or, where there is no time, when the probe has ended.
    Wait(Option<Instant>),
}

/// What a call says about the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is up.
    Good,
    /// It is down.
    Bad,
    /// Nothing.
    Neutral,
}

/// A change of state that somebody may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Opened {
        until: Instant,
    },
    /// A probe has failed; the circuit is open as before.
    Reopened {
        until: Instant,
    },
    Closed {
        /// Since it opened.
        after: Duration,
    },
}

/// What followed from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    pub change: Option<Change>,
    /// The outcome is bad because the backend is known to be down: it says nothing about the
    /// message, whose attempt should not count.
    pub spared: bool,
}

impl Circuit {
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            state: State::Closed { failures: 0 },
            era: 0,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Call(self.ticket(false)),
            State::Open { until, .. } if now < until => Admission::Wait(Some(until)),
            State::Open { since, pause, .. } => {
                self.enter(State::HalfOpen { since, pause });
                Admission::Probe(self.ticket(true))
            }
            State::HalfOpen { .. } => Admission::Wait(None),
        }
    }

    /// Whether a ticket still means what it meant when it was given out: if not, ask again.
    pub fn holds(&self, ticket: &Ticket) -> bool {
        ticket.era == self.era
    }

    /// Takes in what came of a call. What was begun before the last change of state changes
    /// nothing: neither does its success close the circuit nor its failure open it once more.
    pub fn record(&mut self, now: Instant, ticket: Ticket, health: Health) -> Recorded {
        let open = !self.is_closed();
        let change = if self.holds(&ticket) {
            self.follow(now, health)
        } else {
            None
        };
        Recorded {
            change,
            spared: open && health == Health::Bad,
        }
    }

    /// The call was not made, or was cut off: somebody else may make it at once.
    pub fn give_back(&mut self, now: Instant, ticket: Ticket) {
        if let (State::HalfOpen { since, pause }, true) = (self.state, self.holds(&ticket)) {
            let until = now;
            self.enter(State::Open {
                since,
                until,
                pause,
            });
        }
    }

    fn follow(&mut self, now: Instant, health: Health) -> Option<Change> {
        match (self.state, health) {
            (State::Closed { .. }, Health::Good) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::Closed { failures }, Health::Bad) => {
                let failures = failures.saturating_add(1);
                if failures < self.rule.failures {
                    self.state = State::Closed { failures };
                    return None;
                }
                let until = self.open(now, now, self.rule.pause);
                Some(Change::Opened { until })
            }
            (State::HalfOpen { since, .. }, Health::Good) => {
                self.enter(State::Closed { failures: 0 });
                let after = now.saturating_duration_since(since);
                Some(Change::Closed { after })
            }
            (State::HalfOpen { since, pause }, Health::Bad) => {
                let until = self.open(now, since, pause.saturating_mul(2));
                Some(Change::Reopened { until })
            }
            (State::HalfOpen { since, pause }, Health::Neutral) => {
                let until = self.open(now, since, pause);
                Some(Change::Reopened { until })
            }
            // No ticket is given out while the circuit is open.
            (State::Closed { .. }, Health::Neutral) | (State::Open { .. }, _) => None,
        }
    }

    fn open(&mut self, now: Instant, since: Instant, pause: Duration) -> Instant {
        let pause = pause.min(self.rule.pause_max);
        let until = now + pause;
        self.enter(State::Open {
            since,
            until,
            pause,
        });
        until
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }

    fn ticket(&self, probe: bool) -> Ticket {
        Ticket {
            era: self.era,
            probe,
        }
    }
}

impl Ticket {
    pub fn is_probe(&self) -> bool {
        self.probe
    }
}

#[cfg(test)]
mod tests;
