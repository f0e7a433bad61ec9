//! The definition of every family, and how they are made.

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// Upper bounds in seconds: from half a millisecond to a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// One family.
#[derive(Clone, Copy)]
pub(super) struct Definition {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
}

pub(super) const BUILD_INFO: Definition = Definition {
    name: "hareway_build_info",
    help: "Constant 1, with the version.",
    labels: &["version"],
};
pub(super) const REPLIES_TOTAL: Definition = Definition {
    name: "hareway_replies_total",
    help: "Replies by outcome.",
    labels: &["route", "outcome"],
};
pub(super) const HTTP_REQUESTS_TOTAL: Definition = Definition {
    name: "hareway_http_requests_total",
    help: "Answered HTTP requests by status; route is empty where none matched.",
    labels: &["route", "status"],
};
pub(super) const HTTP_REQUEST_SECONDS: Definition = Definition {
    name: "hareway_http_request_seconds",
    help: "From a request's head to its answer, in seconds.",
    labels: &["route"],
};
pub(super) const PUBLISHED_TOTAL: Definition = Definition {
    name: "hareway_published_total",
    help: "Publishes by what the broker made of them.",
    labels: &["route", "outcome"],
};
pub(super) const PUBLISH_SECONDS: Definition = Definition {
    name: "hareway_publish_seconds",
    help: "From handing a message to the publisher to its outcome, in seconds.",
    labels: &["route"],
};
pub(super) const DELIVERIES_TOTAL: Definition = Definition {
    name: "hareway_deliveries_total",
    help: "Deliveries by how they were settled.",
    labels: &["route", "outcome"],
};
pub(super) const IDEMPOTENCY_TOTAL: Definition = Definition {
    name: "hareway_idempotency_total",
    help: "Calls with an idempotency key, or without one where it is required, by what was known of it.",
    labels: &["route", "outcome"],
};
pub(super) const FORWARD_SECONDS: Definition = Definition {
    name: "hareway_forward_seconds",
    help: "One backend call, in seconds.",
    labels: &["route"],
};
pub(super) const IN_FLIGHT: Definition = Definition {
    name: "hareway_in_flight",
    help: "Calls under way.",
    labels: &["route"],
};
pub(super) const CIRCUIT_OPEN: Definition = Definition {
    name: "hareway_circuit_open",
    help: "1 while a route's backend counts as down.",
    labels: &["route"],
};
pub(super) const WAITING_REPLIES: Definition = Definition {
    name: "hareway_waiting_replies",
    help: "HTTP calls held open for a reply.",
    labels: &["route"],
};
pub(super) const SKIPPED_HEADERS_TOTAL: Definition = Definition {
    name: "hareway_skipped_headers_total",
    help: "Headers that the other side cannot carry.",
    labels: &["route"],
};
pub(super) const PARKED_MESSAGES: Definition = Definition {
    name: "hareway_parked_messages",
    help: "Messages in a parked queue, as last seen.",
    labels: &["queue"],
};
pub(super) const REPLAYED_TOTAL: Definition = Definition {
    name: "hareway_replayed_total",
    help: "Parked messages replayed by the admin listener, by outcome; queue is empty for one that no route parks in.",
    labels: &["queue", "outcome"],
};
pub(super) const LIMIT_USED_RATIO: Definition = Definition {
    name: "hareway_limit_used_ratio",
    help: "How much of a limit is used, from 0 to 1.",
    labels: &["limit"],
};
pub(super) const ROUTE_LIMIT: Definition = Definition {
    name: "hareway_route_limit",
    help: "What a route allows at most: in_flight and waiting_replies in calls, spool_bytes in bytes.",
    labels: &["route", "limit"],
};
pub(super) const BROKER_UP: Definition = Definition {
    name: "hareway_broker_up",
    help: "1 while the broker is usable.",
    labels: &[],
};
pub(super) const BROKER_BLOCKED: Definition = Definition {
    name: "hareway_broker_blocked",
    help: "1 while the broker blocks publishers.",
    labels: &[],
};
pub(super) const BROKER_SESSIONS_TOTAL: Definition = Definition {
    name: "hareway_broker_sessions_total",
    help: "Broker connections opened.",
    labels: &[],
};
pub(super) const SPOOL_MESSAGES: Definition = Definition {
    name: "hareway_spool_messages",
    help: "Messages that wait on disk for the broker.",
    labels: &["route"],
};
pub(super) const SPOOL_BYTES: Definition = Definition {
    name: "hareway_spool_bytes",
    help: "Bytes of the messages that wait on disk for the broker.",
    labels: &["route"],
};
pub(super) const SPOOL_OLDEST_SECONDS: Definition = Definition {
    name: "hareway_spool_oldest_seconds",
    help: "For how long the first message in line has waited; 0 where none waits.",
    labels: &["route"],
};
pub(super) const SPOOL_APART_MESSAGES: Definition = Definition {
    name: "hareway_spool_apart_messages",
    help: "Messages on disk that were set apart, for a person to look at.",
    labels: &["route"],
};
pub(super) const STORE_UP: Definition = Definition {
    name: "hareway_store_up",
    help: "1 while the store can be written; absent where no route needs one.",
    labels: &[],
};

/// Makes and registers families.
pub(super) struct Family<'a>(pub(super) &'a Registry);

impl Family<'_> {
    pub(super) fn counters(&self, define: Definition) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(define.opts(), define.labels)?)
    }

    pub(super) fn gauges(&self, define: Definition) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(define.opts(), define.labels)?)
    }

    pub(super) fn ratios(&self, define: Definition) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(define.opts(), define.labels)?)
    }

    pub(super) fn histograms(&self, define: Definition) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::from(define.opts()).buckets(SECONDS.to_vec());
        self.register(HistogramVec::new(opts, define.labels)?)
    }

    pub(super) fn gauge(&self, define: Definition) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(define.opts())?)
    }

    pub(super) fn counter(&self, define: Definition) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(define.opts())?)
    }

    fn register<C: Collector + Clone + 'static>(&self, made: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

impl Definition {
    fn opts(self) -> Opts {
        Opts::new(self.name, self.help)
    }
}
