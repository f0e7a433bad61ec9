//! What is measured, and what a run has found. All of it is kept as JSON, and the page is made of
//! that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::errors::Errors;

/// The queue of every flow; what is made for it at the broker has this in its name too.
pub(crate) const QUEUE: &str = "hareway-bench";
/// What the figures of the page's first table are for.
pub(crate) const CONNECTIONS: u16 = 64;
pub(crate) const BODY: usize = 1024;
/// Of the bridge with many routes.
pub(crate) const ROUTES: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flow {
    Accept,
    Deliver,
    RequestReply,
}

/// What runs as a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    Bridge,
    /// The bridge, with many more routes than the one that is used.
    ManyRoutes,
    /// The bridge, with a spool.
    Spooling,
    /// The bridge, with room for very many calls that wait long.
    Holding,
    Http,
    Publish,
    Accept,
    Naive,
    Consume,
    Deliver,
    Rpc,
}

/// One place of the plan: the subjects of a flow are measured there in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) flow: Flow,
    pub(crate) queue_type: String,
    /// Of the load; calls at a time of what delivers; tasks of what does without HTTP.
    pub(crate) connections: u16,
    /// Bytes of each body.
    pub(crate) body: usize,
}

/// What one round of one subject says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Requests or messages a second.
    pub(crate) rate: f64,
    /// `None` where nobody waits for the single message.
    pub(crate) latency: Option<Latency>,
    /// CPU seconds per 1,000 requests or messages: the subject's and the broker's.
    pub(crate) cpu: f64,
    pub(crate) broker_cpu: Option<f64>,
    pub(crate) peak_mib: f64,
    /// What succeeded from the first moment to the last, warm-up included.
    pub(crate) good: u64,
    pub(crate) errors: Errors,
}

/// In milliseconds; the nearest rank, so that none is a value that was not measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// The rounds of a subject at a point, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rounds {
    pub(crate) point: Point,
    pub(crate) subject: Subject,
    pub(crate) figures: Vec<Figures>,
}

/// One broker that goes away under a load and comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outage {
    /// The route has a spool, the broker is there.
    pub(crate) plain: Figures,
    pub(crate) spooling: Figures,
    /// Messages that waited when the broker came back, and how fast they were published.
    pub(crate) waiting: u64,
    pub(crate) drain_rate: f64,
}

/// Very many messages in a spool, and then in their queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LongSpool {
    pub(crate) filling: Vec<Sample>,
    pub(crate) draining: Vec<Sample>,
    pub(crate) fill_rate: f64,
    pub(crate) drain_rate: f64,
    pub(crate) peak_mib: f64,
    /// Of the store, after the bridge has ended.
    pub(crate) file_after_mib: f64,
    pub(crate) errors: Errors,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// In the spool.
    pub(crate) messages: u64,
    /// Resident now.
    pub(crate) memory_mib: f64,
    /// Of the store.
    pub(crate) file_mib: f64,
}

/// The same number of messages delivered from a queue that has just these, or many more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Backlog {
    pub(crate) messages: u64,
    pub(crate) peak_mib: f64,
    pub(crate) errors: Errors,
}

/// Calls that all wait at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) calls: usize,
    /// Before the first of them.
    pub(crate) idle_mib: f64,
    /// When all of them wait.
    pub(crate) held_mib: f64,
    /// After they have all been answered.
    pub(crate) peak_mib: f64,
    pub(crate) errors: Errors,
}

/// From the start of the process until it is ready, the broker and its queues being there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Starts {
    pub(crate) flow: Flow,
    pub(crate) ready_ms: Vec<f64>,
}

/// Where and how it ran.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) broker: String,
    pub(crate) revision: String,
    pub(crate) load_before: String,
    /// Of all CPU time of the run, what had nothing to do with it took this share.
    pub(crate) others: f64,
    pub(crate) minutes: f64,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) messages: usize,
}

/// A whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    /// Parts that came to nothing, and why.
    pub(crate) failed: Vec<String>,
    pub(crate) flows: Vec<Rounds>,
    pub(crate) routes: Vec<Rounds>,
    /// Seconds of `hareway check` with many routes, process start included.
    pub(crate) check_seconds: Vec<f64>,
    pub(crate) connections: Vec<Rounds>,
    pub(crate) bodies: Vec<Rounds>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) long_spool: Option<LongSpool>,
    pub(crate) backlogs: Vec<Backlog>,
    pub(crate) held: Option<Held>,
    pub(crate) starts: Vec<Starts>,
    /// Median nanoseconds of each micro bench, by name.
    pub(crate) micro: BTreeMap<String, f64>,
    /// Parts that were measured once more later, by their names.
    #[serde(default)]
    pub(crate) amended: BTreeMap<String, Machine>,
}

// === impl Flow ===

impl Flow {
    pub(crate) const ALL: [Self; 3] = [Self::Accept, Self::Deliver, Self::RequestReply];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Deliver => "deliver",
            Self::RequestReply => "request/reply",
        }
    }

    /// The limit program that comes nearest to all that the bridge does.
    pub(crate) fn limit(self) -> Subject {
        match self {
            Self::Accept => Subject::Accept,
            Self::Deliver => Subject::Deliver,
            Self::RequestReply => Subject::Rpc,
        }
    }

    /// What is measured side by side.
    pub(crate) fn subjects(self) -> &'static [Subject] {
        match self {
            Self::Accept => &[
                Subject::Bridge,
                Subject::Accept,
                Subject::Publish,
                Subject::Naive,
                Subject::Http,
            ],
            Self::Deliver => &[Subject::Bridge, Subject::Deliver, Subject::Consume],
            Self::RequestReply => &[Subject::Bridge, Subject::Rpc],
        }
    }
}

// === impl Subject ===

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::ManyRoutes => "bridge, 10,000 routes",
            Self::Spooling => "bridge, with a spool",
            Self::Holding => "bridge, holding calls",
            Self::Http => "bare HTTP 202",
            Self::Publish => "bare publisher",
            Self::Accept => "publisher behind HTTP",
            Self::Naive => "naive accept",
            Self::Consume => "bare consumer",
            Self::Deliver => "consume, call, ack",
            Self::Rpc => "bare RPC",
        }
    }

    pub(crate) fn is_bridge(self) -> bool {
        matches!(
            self,
            Self::Bridge | Self::ManyRoutes | Self::Spooling | Self::Holding
        )
    }
}

// === impl Point ===

impl Point {
    /// 1 KiB bodies, 64 connections.
    pub(crate) fn plain(flow: Flow, queue_type: &str) -> Self {
        Self {
            flow,
            queue_type: queue_type.to_owned(),
            connections: CONNECTIONS,
            body: BODY,
        }
    }
}

// === impl Run ===

impl Run {
    /// All of it, with the place of the first.
    pub(crate) fn errors(&self) -> Errors {
        let mut total = Errors::default();
        let mut add = |place: String, errors: &Errors| {
            let first = errors
                .first
                .as_ref()
                .map(|first| format!("{place}: {first}"));
            let count = errors.count;
            total.merge(Errors { count, first });
        };
        for failed in &self.failed {
            let first = Some(failed.clone());
            add("a part failed".to_owned(), &Errors { count: 1, first });
        }
        let measured = [&self.flows, &self.routes, &self.connections, &self.bodies];
        for rounds in measured.into_iter().flatten() {
            let (flow, subject) = (rounds.point.flow.name(), rounds.subject.name());
            for figures in &rounds.figures {
                add(format!("{flow}, {subject}"), &figures.errors);
            }
        }
        for outage in &self.outages {
            add("with a spool".to_owned(), &outage.plain.errors);
            add("spooling".to_owned(), &outage.spooling.errors);
        }
        if let Some(spool) = &self.long_spool {
            add("a long spool".to_owned(), &spool.errors);
        }
        for backlog in &self.backlogs {
            add("a long queue".to_owned(), &backlog.errors);
        }
        if let Some(held) = &self.held {
            add("held calls".to_owned(), &held.errors);
        }
        total
    }
}
