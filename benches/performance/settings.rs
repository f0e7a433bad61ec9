//! What to measure, for how long and how often.

use std::{env, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    closed_loop::Timing,
    model::{BODY, CONNECTIONS, Flow, Point},
};

/// Where nothing else is said, all of them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    Accept,
    Deliver,
    RequestReply,
}

pub(crate) struct Settings {
    pub(crate) amqp_url: String,
    /// The broker's process, where it is on this machine and known.
    pub(crate) broker_pid: Option<u32>,
    /// Enough to see that everything works, and no more.
    pub(crate) quick: bool,
    pub(crate) parts: Vec<Part>,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) messages: usize,
}

/// What one round takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) timing: Timing,
    /// Of each round that delivers 1 KiB to 64 calls at a time.
    messages: usize,
}

// === impl Part ===

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Accept, Self::Deliver, Self::RequestReply];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Deliver => "deliver",
            Self::RequestReply => "request-reply",
        }
    }

    pub(crate) fn flow(self) -> Option<Flow> {
        match self {
            Self::Accept => Some(Flow::Accept),
            Self::Deliver => Some(Flow::Deliver),
            Self::RequestReply => Some(Flow::RequestReply),
        }
    }

    fn named(name: &str) -> anyhow::Result<Self> {
        let part = Self::ALL.into_iter().find(|part| part.name() == name);
        part.with_context(|| {
            let names = Self::ALL.map(Self::name);
            format!("there is no part {name}; there are {}", names.join(", "))
        })
    }
}

// === impl Settings ===

impl Settings {
    /// From the environment; `parts` are names, none of them is all.
    pub(crate) fn new(parts: &[String]) -> anyhow::Result<Self> {
        let broker_pid = env::var("BENCH_BROKER_PID").ok();
        let quick = env::var("BENCH_QUICK").is_ok_and(|value| !value.is_empty());
        let pick = |full, quickly| if quick { quickly } else { full };
        let parts: anyhow::Result<Vec<Part>> = parts.iter().map(|name| Part::named(name)).collect();
        let mut parts = parts?;
        if parts.is_empty() {
            parts = Part::ALL.to_vec();
        }
        Ok(Self {
            amqp_url: env::var("AMQP_URL").context("AMQP_URL is not set: make bench")?,
            broker_pid: broker_pid.map(|pid| pid.parse()).transpose()?,
            quick,
            parts,
            rounds: number("BENCH_ROUNDS", pick(3, 1))?,
            seconds: number("BENCH_SECONDS", pick(6, 1))? as u64,
            messages: number("BENCH_MESSAGES", pick(50_000, 2_000))?,
        })
    }

    pub(crate) fn effort(&self) -> Effort {
        Effort {
            timing: Timing {
                warm_up: Duration::from_millis(if self.quick { 200 } else { 1000 }),
                measured: Duration::from_secs(self.seconds),
            },
            messages: self.messages,
        }
    }
}

// === impl Effort ===

impl Effort {
    /// How many messages are delivered there: fewer where each takes longer.
    pub(crate) fn messages(&self, point: &Point) -> usize {
        let few_calls = usize::from(point.connections.min(CONNECTIONS)) + 8;
        let by_calls = self.messages * few_calls / (usize::from(CONNECTIONS) + 8);
        let by_bytes = self.messages * 8 / (point.body / BODY).max(8);
        by_calls.min(by_bytes).max(64)
    }
}

fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    match env::var(name) {
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => anyhow::bail!("{name}={text} is no positive number"),
        },
        Err(_) => Ok(default),
    }
}
