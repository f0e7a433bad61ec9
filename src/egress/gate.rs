//! The gate before a route's backend: where messages wait while the backend is down.
//!
//! They wait in the order in which they come, unacknowledged, so that the broker sends no more than
//! the route's prefetch. The first of them becomes the probe when the pause is over; one whose probe
//! fails goes to the end of the line, so that no single message decides for all.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use prometheus::IntGauge;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::client::CallError;
use crate::{
    config::model::{self, CircuitOn},
    policy::circuit::{Admission, Change, Circuit, Health, Rule, State, Ticket},
};

/// The circuit of one route, and the line of those who wait for it.
#[derive(Debug)]
pub(super) struct Gate {
    route: Arc<str>,
    on: CircuitOn,
    circuit: Mutex<Circuit>,
    /// Whoever holds it is first in the line; the lock is fair.
    line: tokio::sync::Mutex<()>,
    state: watch::Sender<State>,
    open: IntGauge,
}

/// Leave to call the backend once. One that is dropped leaves its place to the next.
#[derive(Debug)]
#[must_use = "a pass is for one call"]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    ticket: Option<Ticket>,
}

/// What a call came to, as far as the circuit cares.
pub(super) type Outcome<'a> = Result<StatusCode, &'a CallError>;

/// How a route's circuit is, for those who look from outside.
#[derive(Debug, Clone)]
pub struct CircuitView(watch::Receiver<State>);

// === impl Gate ===

impl Gate {
    pub(super) fn new(route: Arc<str>, circuit: &model::Circuit, open: IntGauge) -> Self {
        let rule = Rule {
            failures: circuit.failures,
            pause: circuit.pause,
            pause_max: circuit.pause_max,
        };
        let on = circuit.on.clone();
        let circuit = Circuit::new(rule);
        Self {
            route,
            on,
            state: watch::Sender::new(circuit.state()),
            circuit: Mutex::new(circuit),
            line: tokio::sync::Mutex::new(()),
            open,
        }
    }

    pub(super) fn view(&self) -> CircuitView {
        CircuitView(self.state.subscribe())
    }

    /// Waits in line until the backend may be called.
    pub(super) async fn pass(&self) -> Pass<'_> {
        if self.circuit().is_closed()
            && let Ok(pass) = self.try_pass()
        {
            return pass;
        }
        let _first = self.line.lock().await;
        let mut state = self.state.subscribe();
        loop {
            state.borrow_and_update();
            let until = match self.try_pass() {
                Ok(pass) => return pass,
                Err(until) => until,
            };
            let pause = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    // A probe is under way; its end is a change.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                // The sender lives as long as the gate.
                _ = state.changed() => {}
            }
        }
    }

    /// A pass for somebody who will not wait, without standing in line.
    ///
    /// # Errors
    /// When to ask again; `None` while a probe is under way.
    pub(super) fn try_pass(&self) -> Result<Pass<'_>, Option<Instant>> {
        let mut circuit = self.circuit();
        match circuit.admit(Instant::now()) {
            Admission::Call(ticket) => Ok(self.with(ticket)),
            Admission::Probe(ticket) => {
                self.state.send_replace(circuit.state());
                Ok(self.with(ticket))
            }
            Admission::Wait(until) => Err(until),
        }
    }

    fn with(&self, ticket: Ticket) -> Pass<'_> {
        Pass {
            gate: self,
            ticket: Some(ticket),
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers whether the outcome says nothing about the message, whose attempt is not counted.
    fn record(&self, ticket: Ticket, outcome: Outcome<'_>) -> bool {
        let health = health(&self.on, outcome);
        let now = Instant::now();
        let mut circuit = self.circuit();
        let recorded = circuit.record(now, ticket, health);
        if let Some(change) = recorded.change {
            self.state.send_replace(circuit.state());
            self.open.set(i64::from(!circuit.is_closed()));
            drop(circuit);
            self.tell(change, outcome, now);
        }
        recorded.spared
    }

    fn give_back(&self, ticket: Ticket) {
        let mut circuit = self.circuit();
        circuit.give_back(Instant::now(), ticket);
        self.state.send_replace(circuit.state());
    }

    fn tell(&self, change: Change, outcome: Outcome<'_>, now: Instant) {
        let route = &*self.route;
        let outcome = match outcome {
            Ok(status) => format!("status {}", status.as_u16()),
            Err(error) => error.to_string(),
        };
        let next_probe = |until: Instant| human(until.saturating_duration_since(now));
        match change {
            Change::Opened { until } => {
                let next_probe = next_probe(until);
                tracing::warn!(route, outcome, %next_probe, "circuit open, the backend counts as down");
            }
            Change::Reopened { until } => {
                let next_probe = next_probe(until);
                tracing::debug!(route, outcome, %next_probe, "probe failed, circuit stays open");
            }
            Change::Closed { after } => {
                let open_for = human(after);
                tracing::info!(route, %open_for, "circuit closed, the backend is back");
            }
        }
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// Whether it is still worth what it was when it was given; if not, ask for another.
    pub(super) fn holds(&self) -> bool {
        let holds = |ticket| self.gate.circuit().holds(ticket);
        self.ticket.as_ref().is_some_and(holds)
    }

    pub(super) fn is_probe(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_probe)
    }

    /// Says what came of the call. `true`: the backend is known to be down, so the outcome says
    /// nothing about the message and its attempt is not counted.
    pub(super) fn record(mut self, outcome: Outcome<'_>) -> bool {
        let ticket = self.ticket.take();
        ticket.is_some_and(|ticket| self.gate.record(ticket, outcome))
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.give_back(ticket);
        }
    }
}

// === impl CircuitView ===

impl CircuitView {
    /// What holds the route up; `None` while its circuit is closed.
    pub fn paused(&self) -> Option<impl fmt::Display + use<>> {
        match *self.0.borrow() {
            State::Closed { .. } => None,
            State::HalfOpen { .. } => Some("circuit half-open, a probe is under way".to_owned()),
            State::Open { until, .. } => {
                let left = until.saturating_duration_since(Instant::now());
                Some(if left.is_zero() {
                    "circuit open, the next message is the probe".to_owned()
                } else {
                    format!("circuit open, next probe in {}s", seconds_up(left))
                })
            }
        }
    }
}

/// What a call says about the backend. Any answer that is not in `on` comes from a backend that is
/// up, whatever it thinks of the message.
fn health(on: &CircuitOn, outcome: Outcome<'_>) -> Health {
    let is_down = match outcome {
        Ok(status) => on.statuses.contains(status),
        Err(CallError::Connect(_)) => on.connect,
        Err(CallError::Timeout(_)) => on.timeout,
        Err(CallError::Broken(_) | CallError::TooLarge(_)) => false,
    };
    match (is_down, outcome) {
        (true, _) => Health::Bad,
        (false, Ok(_)) => Health::Good,
        (false, Err(_)) => Health::Neutral,
    }
}

/// Whole seconds, never fewer than there are.
pub(super) fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// To the millisecond: the clock's own digits help nobody.
fn human(time: Duration) -> impl fmt::Display {
    let whole = Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000);
    humantime::format_duration(whole)
}
