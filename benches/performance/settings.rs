//! What to measure, for how long and how often.

use std::{env, path::PathBuf, time::Duration};

use anyhow::Context;

use crate::{
    closed_loop::Timing,
    model::{BODY, CONNECTIONS, Flow, Point},
    node::Node,
};

/// Where nothing else is said, all of them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Accept,
    Deliver,
    RequestReply,
    Routes,
    Connections,
    Bodies,
    Spool,
    /// Takes the queue as a long spool leaves it, else fills one.
    Backlog,
    Held,
    Start,
    /// Is timed by a program of its own; here it is only read.
    Micro,
}

pub(crate) struct Settings {
    pub(crate) amqp_url: String,
    /// The broker's process, where it is ours.
    pub(crate) node: Option<Node>,
    /// Enough to see that everything works, and no more.
    pub(crate) quick: bool,
    /// What is measured takes its place in the last whole run.
    pub(crate) amend: bool,
    pub(crate) parts: Vec<Part>,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) messages: usize,
    /// Of the long spool and the long queue.
    pub(crate) backlog: usize,
    pub(crate) held: usize,
    pub(crate) starts: usize,
    /// The page, and the folder of its plots: rewritten by a whole run.
    pub(crate) page: PathBuf,
}

/// What one round takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) timing: Timing,
    /// Of each round that delivers 1 KiB to 64 calls at a time.
    pub(crate) messages: usize,
}

// === impl Part ===

impl Part {
    pub(crate) const ALL: [Self; 11] = [
        Self::Accept,
        Self::Deliver,
        Self::RequestReply,
        Self::Routes,
        Self::Connections,
        Self::Bodies,
        Self::Spool,
        Self::Backlog,
        Self::Held,
        Self::Start,
        Self::Micro,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Deliver => "deliver",
            Self::RequestReply => "request-reply",
            Self::Routes => "routes",
            Self::Connections => "connections",
            Self::Bodies => "bodies",
            Self::Spool => "spool",
            Self::Backlog => "backlog",
            Self::Held => "held",
            Self::Start => "start",
            Self::Micro => "micro",
        }
    }

    pub(crate) fn flow(self) -> Option<Flow> {
        match self {
            Self::Accept => Some(Flow::Accept),
            Self::Deliver => Some(Flow::Deliver),
            Self::RequestReply => Some(Flow::RequestReply),
            _ => None,
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
        let is_set = |name| env::var(name).is_ok_and(|value| !value.is_empty());
        let quick = is_set("BENCH_QUICK");
        let pick = |full, quickly| if quick { quickly } else { full };
        let parts: anyhow::Result<Vec<Part>> = parts.iter().map(|name| Part::named(name)).collect();
        let mut parts = parts?;
        if parts.is_empty() {
            parts = Part::ALL.to_vec();
        }
        Ok(Self {
            amqp_url: env::var("AMQP_URL").context("AMQP_URL is not set: make bench")?,
            node: Node::from_environment(),
            quick,
            amend: is_set("BENCH_AMEND"),
            parts,
            rounds: number("BENCH_ROUNDS", pick(3, 1))?,
            seconds: number("BENCH_SECONDS", pick(5, 1))? as u64,
            messages: number("BENCH_MESSAGES", pick(50_000, 2_000))?,
            backlog: number("BENCH_BACKLOG", pick(1_000_000, 5_000))?,
            held: number("BENCH_HELD", pick(10_000, 500))?,
            starts: pick(11, 3),
            page: page(),
        })
    }

    pub(crate) fn whole(&self) -> bool {
        Part::ALL.iter().all(|part| self.parts.contains(part))
    }

    pub(crate) fn broker_pid(&self) -> anyhow::Result<Option<u32>> {
        self.node.as_ref().map(Node::pid).transpose()
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
    pub(crate) fn half(self) -> Self {
        Self {
            timing: self.timing.half(),
            messages: self.messages / 2,
        }
    }

    /// How many messages are delivered there: fewer where each takes longer.
    pub(crate) fn messages(&self, point: &Point) -> usize {
        let few_calls = usize::from(point.connections.min(CONNECTIONS)) + 8;
        let by_calls = self.messages * few_calls / (usize::from(CONNECTIONS) + 8);
        let by_bytes = self.messages * 8 / (point.body / BODY).max(8);
        by_calls.min(by_bytes).max(64)
    }
}

/// Where the figures go.
pub(crate) fn page() -> PathBuf {
    let page = env::var_os("BENCH_PAGE");
    page.map_or_else(|| "docs/performance.md".into(), PathBuf::from)
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
