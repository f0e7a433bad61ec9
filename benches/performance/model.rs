//! What is measured, and what a run has found. All of it is kept as JSON, and the page is made of
//! that.

use serde::{Deserialize, Serialize};

use crate::errors::Errors;

/// The queue of every flow; what is made for it at the broker has this in its name too.
pub(crate) const QUEUE: &str = "hareway-bench";
/// What the figures of the page's first tables are for.
pub(crate) const CONNECTIONS: u16 = 64;
pub(crate) const BODY: usize = 1024;

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
    /// The bridge with a spool, its broker being away.
    Spooling,
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

// === impl Flow ===

impl Flow {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Deliver => "deliver",
            Self::RequestReply => "request/reply",
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
            Self::Spooling => "bridge, spooling",
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
        matches!(self, Self::Bridge | Self::ManyRoutes | Self::Spooling)
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
