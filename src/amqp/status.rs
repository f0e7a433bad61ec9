//! What is known about the broker at this moment, for readiness and the logs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

use super::{connect::Role, publisher::Gate};
use crate::telemetry::Metrics;

/// Shared by everything that lives on the broker; clones see the same state.
#[derive(Debug, Clone)]
pub struct Status(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    gate: watch::Sender<Gate>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<&'static str, Link>,
    /// Broken parts by name; those that are well are not listed.
    problems: BTreeMap<String, String>,
    blocked: Option<String>,
}

#[derive(Debug)]
enum Link {
    Up,
    Down(String),
}

/// A part that keeps this process from being ready, and why.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct NotReady {
    pub part: String,
    pub reason: String,
}

/// What is not well with the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// It is not connected, or blocks publishers: it comes back by itself.
    pub away: Vec<NotReady>,
    /// It is there, and something at it is not as configured.
    pub problems: Vec<NotReady>,
}

// === impl Status ===

impl Status {
    pub(super) fn new(metrics: Metrics) -> Self {
        let status = Self(Arc::new(Shared {
            state: Mutex::default(),
            gate: watch::Sender::new(Gate::Down),
            metrics,
        }));
        for role in [Role::Publish, Role::Consume] {
            status.link_down(role, "not connected yet".to_owned());
        }
        status
    }

    /// What is not well with the broker; nothing at all means ready.
    pub fn trouble(&self) -> Trouble {
        let state = self.state();
        let down = state.links.iter().filter_map(|(role, link)| match link {
            Link::Up => None,
            Link::Down(why) => Some((format!("broker ({role} connection)"), why.clone())),
        });
        let blocked = state
            .blocked
            .iter()
            .map(|why| ("broker".to_owned(), format!("blocks publishers: {why}")));
        let problems = state
            .problems
            .iter()
            .map(|(part, why)| (part.clone(), why.clone()));
        let not_ready = |(part, reason)| NotReady { part, reason };
        let mut away: Vec<NotReady> = down.map(not_ready).collect();
        let mut problems: Vec<NotReady> = problems.map(not_ready).collect();
        if !away.is_empty() {
            // Of parts that stand on a connection that is lost nothing more is known.
            away.append(&mut problems);
        }
        away.extend(blocked.map(not_ready));
        Trouble { away, problems }
    }

    /// Why nothing is consumed from `queue` at this moment, if so.
    pub fn consumer_problem(&self, queue: &str) -> Option<String> {
        let state = self.state();
        if let Some(Link::Down(why)) = state.links.get(Role::Consume.as_str()) {
            return Some(why.clone());
        }
        state.problems.get(&consumer_part(queue)).cloned()
    }

    /// Whether both connections are up.
    pub fn is_up(&self) -> bool {
        self.state()
            .links
            .values()
            .all(|link| matches!(link, Link::Up))
    }

    /// Whether publishing is possible; it changes with the publish connection.
    pub(super) fn gate(&self) -> watch::Receiver<Gate> {
        self.0.gate.subscribe()
    }

    /// Connected, which alone serves nobody: [`Status::link_up`] follows.
    pub(super) fn link_connected(&self, role: Role) {
        self.0.metrics.broker_sessions.inc();
        self.link_down(role, "connected, and not at work yet".to_owned());
    }

    /// At work: publishes are taken, or consumers are being started.
    pub(super) fn link_up(&self, role: Role) {
        self.state().links.insert(role.as_str(), Link::Up);
        self.publish_state();
    }

    pub(super) fn link_down(&self, role: Role, why: String) {
        let mut state = self.state();
        state.links.insert(role.as_str(), Link::Down(why));
        if role == Role::Publish {
            state.blocked = None;
        }
        drop(state);
        self.publish_state();
    }

    pub(super) fn open_gate(&self) {
        self.0.gate.send_replace(Gate::Open);
        self.link_up(Role::Publish);
    }

    pub(super) fn close_gate(&self) {
        self.0.gate.send_replace(Gate::Down);
    }

    pub(super) fn blocked(&self, why: Option<String>) {
        let gate = if why.is_some() {
            Gate::Blocked
        } else {
            Gate::Open
        };
        self.state().blocked = why;
        self.0.gate.send_replace(gate);
        self.publish_state();
    }

    /// Notes what is wrong with `part`; `false` where that was known.
    pub(super) fn problem(&self, part: &str, why: String) -> bool {
        let known = self.state().problems.insert(part.to_owned(), why.clone());
        known.is_none_or(|known| known != why)
    }

    pub(super) fn well(&self, part: &str) {
        self.state().problems.remove(part);
    }

    fn publish_state(&self) {
        self.0.metrics.broker_up.set(i64::from(self.is_up()));
        self.0
            .metrics
            .broker_blocked
            .set(i64::from(self.state().blocked.is_some()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the consumer of `queue` among the parts.
pub(super) fn consumer_part(queue: &str) -> String {
    format!("consumer of queue {queue}")
}
