//! Every metric of the process, defined in one place and resolved once per route.

use std::sync::{Arc, OnceLock};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// Upper bounds in seconds: from half a millisecond to a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// One family.
#[derive(Clone, Copy)]
struct Definition {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
}

const BUILD_INFO: Definition = Definition {
    name: "hareway_build_info",
    help: "Constant 1, with the version.",
    labels: &["version"],
};
const REPLIES_TOTAL: Definition = Definition {
    name: "hareway_replies_total",
    help: "Replies by outcome.",
    labels: &["route", "outcome"],
};
const HTTP_REQUESTS_TOTAL: Definition = Definition {
    name: "hareway_http_requests_total",
    help: "Answered HTTP requests by status; route is empty where none matched.",
    labels: &["route", "status"],
};
const HTTP_REQUEST_SECONDS: Definition = Definition {
    name: "hareway_http_request_seconds",
    help: "From a request's head to its answer, in seconds.",
    labels: &["route"],
};
const PUBLISHED_TOTAL: Definition = Definition {
    name: "hareway_published_total",
    help: "Publishes by what the broker made of them.",
    labels: &["route", "outcome"],
};
const PUBLISH_SECONDS: Definition = Definition {
    name: "hareway_publish_seconds",
    help: "From handing a message to the publisher to its outcome, in seconds.",
    labels: &["route"],
};
const DELIVERIES_TOTAL: Definition = Definition {
    name: "hareway_deliveries_total",
    help: "Deliveries by how they were settled.",
    labels: &["route", "outcome"],
};
const IDEMPOTENCY_TOTAL: Definition = Definition {
    name: "hareway_idempotency_total",
    help: "Calls with an idempotency key, or without one where it is required, by what was known of it.",
    labels: &["route", "outcome"],
};
const FORWARD_SECONDS: Definition = Definition {
    name: "hareway_forward_seconds",
    help: "One backend call, in seconds.",
    labels: &["route"],
};
const IN_FLIGHT: Definition = Definition {
    name: "hareway_in_flight",
    help: "Calls under way.",
    labels: &["route"],
};
const CIRCUIT_OPEN: Definition = Definition {
    name: "hareway_circuit_open",
    help: "1 while a route's backend counts as down.",
    labels: &["route"],
};
const WAITING_REPLIES: Definition = Definition {
    name: "hareway_waiting_replies",
    help: "HTTP calls held open for a reply.",
    labels: &["route"],
};
const SKIPPED_HEADERS_TOTAL: Definition = Definition {
    name: "hareway_skipped_headers_total",
    help: "Headers that the other side cannot carry.",
    labels: &["route"],
};
const PARKED_MESSAGES: Definition = Definition {
    name: "hareway_parked_messages",
    help: "Messages in a parked queue, as last seen.",
    labels: &["queue"],
};
const REPLAYED_TOTAL: Definition = Definition {
    name: "hareway_replayed_total",
    help: "Parked messages replayed by the admin listener, by outcome; queue is empty for one that no route parks in.",
    labels: &["queue", "outcome"],
};
const LIMIT_USED_RATIO: Definition = Definition {
    name: "hareway_limit_used_ratio",
    help: "How much of a limit is used, from 0 to 1.",
    labels: &["limit"],
};
const ROUTE_LIMIT: Definition = Definition {
    name: "hareway_route_limit",
    help: "What a route allows at most: in_flight and waiting_replies in calls, spool_bytes in bytes.",
    labels: &["route", "limit"],
};
const BROKER_UP: Definition = Definition {
    name: "hareway_broker_up",
    help: "1 while the broker is usable.",
    labels: &[],
};
const BROKER_BLOCKED: Definition = Definition {
    name: "hareway_broker_blocked",
    help: "1 while the broker blocks publishers.",
    labels: &[],
};
const BROKER_SESSIONS_TOTAL: Definition = Definition {
    name: "hareway_broker_sessions_total",
    help: "Broker connections opened.",
    labels: &[],
};
const SPOOL_MESSAGES: Definition = Definition {
    name: "hareway_spool_messages",
    help: "Messages that wait on disk for the broker.",
    labels: &["route"],
};
const SPOOL_BYTES: Definition = Definition {
    name: "hareway_spool_bytes",
    help: "Bytes of the messages that wait on disk for the broker.",
    labels: &["route"],
};
const SPOOL_OLDEST_SECONDS: Definition = Definition {
    name: "hareway_spool_oldest_seconds",
    help: "For how long the first message in line has waited; 0 where none waits.",
    labels: &["route"],
};
const SPOOL_APART_MESSAGES: Definition = Definition {
    name: "hareway_spool_apart_messages",
    help: "Messages on disk that were set apart, for a person to look at.",
    labels: &["route"],
};
const STORE_UP: Definition = Definition {
    name: "hareway_store_up",
    help: "1 while the store can be written; absent where no route needs one.",
    labels: &[],
};

/// What a publish came to; the label `outcome` of `hareway_published_total`.
pub const PUBLISH_OUTCOMES: [&str; 13] = [
    "routed",
    "spooled",
    "spool_full",
    "store_unavailable",
    "unroutable",
    "discarded",
    "nacked",
    "too_large",
    "refused",
    "unknown",
    "unavailable",
    "blocked",
    "overloaded",
];
/// What a delivery came to; the label `outcome` of `hareway_deliveries_total`.
pub const DELIVERY_OUTCOMES: [&str; 8] = [
    "delivered",
    "replied",
    "retried",
    "parked",
    "dropped",
    "requeued",
    "returned",
    "suppressed",
];
/// What a reply came to; the label `outcome` of `hareway_replies_total`.
pub const REPLY_OUTCOMES: [&str; 8] = [
    "matched",
    "late",
    "repeated",
    "unknown",
    "timeout",
    "abandoned",
    "bad",
    "handed_over",
];

/// What became of a call by its key; the label `outcome` of `hareway_idempotency_total`.
pub const IDEMPOTENCY_OUTCOMES: [&str; 6] = [
    "first",
    "replayed",
    "in_progress",
    "conflict",
    "taken_over",
    "refused",
];

/// The process's metrics. One per running bridge, so that two in one process do not mix.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    http_requests: IntCounterVec,
    http_seconds: HistogramVec,
    published: IntCounterVec,
    publish_seconds: HistogramVec,
    deliveries: IntCounterVec,
    forward_seconds: HistogramVec,
    in_flight: IntGaugeVec,
    circuit_open: IntGaugeVec,
    replies: IntCounterVec,
    idempotency: IntCounterVec,
    waiting_replies: IntGaugeVec,
    skipped_headers: IntCounterVec,
    parked_messages: IntGaugeVec,
    replayed: IntCounterVec,
    limit_used: GaugeVec,
    route_limits: IntGaugeVec,
    detached: Detached,
    /// 1 while both connections are up and everything is consumed.
    pub broker_up: IntGauge,
    /// 1 while the broker blocks publishers (a memory or disk alarm).
    pub broker_blocked: IntGauge,
    /// Sessions begun since the start, both connections counted.
    pub broker_sessions: IntCounter,
    /// Replies that belong to no route of this process.
    pub replies_unknown: IntCounter,
    /// Replies passed on to the process that waits for them.
    pub replies_handed_over: IntCounter,
}

/// The figures of the store, as last asked for. Exposed only where there is one.
#[derive(Debug, Clone)]
pub struct SpoolMetrics {
    messages: IntGaugeVec,
    bytes: IntGaugeVec,
    oldest_seconds: GaugeVec,
    apart_messages: IntGaugeVec,
    /// 1 while it can be written.
    pub store_up: IntGauge,
    /// How full the fullest route's spool is.
    pub limit: Gauge,
}

/// Which of its metrics a route moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Inbound,
    Deliver,
    /// Requests that no route takes.
    Unmatched,
}

/// Stand-ins for the children that a route never moves.
#[derive(Debug, Clone)]
struct Detached {
    count: IntCounter,
    gauge: IntGauge,
    seconds: Histogram,
}

/// The children of one route's labels; clones share them.
#[derive(Debug, Clone)]
pub struct RouteMetrics(Arc<Children>);

/// What a route moves. Those that nearly every call moves are resolved, the others by their label.
#[derive(Debug)]
pub struct Children {
    http_requests: IntCounterVec,
    published: IntCounterVec,
    deliveries: IntCounterVec,
    replies: IntCounterVec,
    idempotency: IntCounterVec,
    route: Arc<str>,
    accepted: IntCounter,
    routed: IntCounter,
    delivered: IntCounter,
    matched: IntCounter,
    /// Status 200 and outcome `replied`: not every route has them, so they come with the first use.
    ok: OnceLock<IntCounter>,
    replied: OnceLock<IntCounter>,
    pub http_seconds: Histogram,
    pub publish_seconds: Histogram,
    pub forward_seconds: Histogram,
    pub in_flight: IntGauge,
    /// 1 while the route's circuit is open or half-open.
    pub circuit_open: IntGauge,
    pub waiting_replies: IntGauge,
    /// Headers that HTTP, or AMQP, could not carry.
    pub skipped_headers: IntCounter,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// A metric that is defined twice or badly named.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let family = Family(&registry);
        let build = family.gauges(BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let replies = family.counters(REPLIES_TOTAL)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            http_requests: family.counters(HTTP_REQUESTS_TOTAL)?,
            http_seconds: family.histograms(HTTP_REQUEST_SECONDS)?,
            published: family.counters(PUBLISHED_TOTAL)?,
            publish_seconds: family.histograms(PUBLISH_SECONDS)?,
            deliveries: family.counters(DELIVERIES_TOTAL)?,
            forward_seconds: family.histograms(FORWARD_SECONDS)?,
            in_flight: family.gauges(IN_FLIGHT)?,
            circuit_open: family.gauges(CIRCUIT_OPEN)?,
            waiting_replies: family.gauges(WAITING_REPLIES)?,
            skipped_headers: family.counters(SKIPPED_HEADERS_TOTAL)?,
            idempotency: family.counters(IDEMPOTENCY_TOTAL)?,
            parked_messages: family.gauges(PARKED_MESSAGES)?,
            replayed: family.counters(REPLAYED_TOTAL)?,
            detached: Detached::new()?,
            limit_used: family.ratios(LIMIT_USED_RATIO)?,
            route_limits: family.gauges(ROUTE_LIMIT)?,
            broker_up: family.gauge(BROKER_UP)?,
            broker_blocked: family.gauge(BROKER_BLOCKED)?,
            broker_sessions: family.counter(BROKER_SESSIONS_TOTAL)?,
            replies_unknown: replies.with_label_values(&["", "unknown"]),
            replies_handed_over: replies.with_label_values(&["", "handed_over"]),
            replies,
            registry,
        })
    }

    /// The children for one route, resolved once. Those that `side` never moves stand for
    /// themselves and are not exposed.
    pub fn route(&self, name: &Arc<str>, side: Side) -> RouteMetrics {
        let inbound = side == Side::Inbound;
        let deliver = side == Side::Deliver;
        let answers = side != Side::Deliver;
        let seconds = |family: &HistogramVec, used| match used {
            true => family.with_label_values(&[&**name]),
            false => self.detached.seconds.clone(),
        };
        let count = |family: &IntCounterVec, outcome, used| match used {
            true => family.with_label_values(&[&**name, outcome]),
            false => self.detached.count.clone(),
        };
        let gauge = |family: &IntGaugeVec, used| match used {
            true => family.with_label_values(&[&**name]),
            false => self.detached.gauge.clone(),
        };
        RouteMetrics(Arc::new(Children {
            accepted: count(&self.http_requests, "202", inbound),
            routed: count(&self.published, "routed", inbound || deliver),
            delivered: count(&self.deliveries, "delivered", deliver),
            matched: count(&self.replies, "matched", inbound),
            ok: OnceLock::new(),
            replied: OnceLock::new(),
            http_seconds: seconds(&self.http_seconds, answers),
            publish_seconds: seconds(&self.publish_seconds, inbound || deliver),
            forward_seconds: seconds(&self.forward_seconds, deliver),
            in_flight: gauge(&self.in_flight, inbound || deliver),
            circuit_open: gauge(&self.circuit_open, deliver),
            waiting_replies: gauge(&self.waiting_replies, inbound),
            skipped_headers: match inbound || deliver {
                true => self.skipped_headers.with_label_values(&[&**name]),
                false => self.detached.count.clone(),
            },
            http_requests: self.http_requests.clone(),
            published: self.published.clone(),
            deliveries: self.deliveries.clone(),
            replies: self.replies.clone(),
            idempotency: self.idempotency.clone(),
            route: name.clone(),
        }))
    }

    /// The gauge of one limit, such as `connections`; set it between 0 and 1.
    pub fn limit(&self, name: &str) -> Gauge {
        self.limit_used.with_label_values(&[name])
    }

    /// What a route allows at most of something that a gauge counts.
    pub fn route_limit(&self, route: &str, limit: &str, most: u64) {
        self.route_limits
            .with_label_values(&[route, limit])
            .set(i64::try_from(most).unwrap_or(i64::MAX));
    }

    /// The gauges of the store, which are registered here and now.
    ///
    /// # Errors
    /// The second time.
    pub fn spool(&self) -> Result<SpoolMetrics, prometheus::Error> {
        let family = Family(&self.registry);
        Ok(SpoolMetrics {
            messages: family.gauges(SPOOL_MESSAGES)?,
            bytes: family.gauges(SPOOL_BYTES)?,
            oldest_seconds: family.ratios(SPOOL_OLDEST_SECONDS)?,
            apart_messages: family.gauges(SPOOL_APART_MESSAGES)?,
            store_up: family.gauge(STORE_UP)?,
            limit: self.limit("spool"),
        })
    }

    pub fn parked(&self, queue: &str) -> IntGauge {
        self.parked_messages.with_label_values(&[queue])
    }

    /// Counts messages that were replayed from `queue`, and that could not be.
    pub fn replayed(&self, queue: &str, replayed: u64, failed: u64) {
        for (outcome, count) in [("replayed", replayed), ("failed", failed)] {
            if count > 0 {
                let counter = self.replayed.with_label_values(&[queue, outcome]);
                counter.inc_by(count);
            }
        }
    }

    /// The text exposition format, version 0.0.4.
    ///
    /// # Errors
    /// A family that cannot be written.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl SpoolMetrics {
    /// Sets the figures of one route.
    pub fn route(&self, route: &str, messages: u64, bytes: u64, oldest_seconds: f64, apart: u64) {
        let set = |family: &IntGaugeVec, value| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            family.with_label_values(&[route]).set(value);
        };
        set(&self.messages, messages);
        set(&self.bytes, bytes);
        set(&self.apart_messages, apart);
        self.oldest_seconds
            .with_label_values(&[route])
            .set(oldest_seconds);
    }
}

impl std::ops::Deref for RouteMetrics {
    type Target = Children;

    fn deref(&self) -> &Children {
        &self.0
    }
}

impl Children {
    pub fn http_request(&self, status: http::StatusCode) {
        let resolve = || {
            self.http_requests
                .with_label_values(&[&*self.route, status.as_str()])
        };
        match status {
            http::StatusCode::ACCEPTED => self.accepted.inc(),
            http::StatusCode::OK => self.ok.get_or_init(resolve).inc(),
            _ => resolve().inc(),
        }
    }

    /// `outcome` is one of [`PUBLISH_OUTCOMES`].
    pub fn published(&self, outcome: &str) {
        if outcome == "routed" {
            self.routed.inc();
        } else {
            self.published
                .with_label_values(&[&*self.route, outcome])
                .inc();
        }
    }

    /// `outcome` is one of [`DELIVERY_OUTCOMES`].
    pub fn delivery(&self, outcome: &str) {
        let resolve = || self.deliveries.with_label_values(&[&*self.route, outcome]);
        match outcome {
            "delivered" => self.delivered.inc(),
            "replied" => self.replied.get_or_init(resolve).inc(),
            _ => resolve().inc(),
        }
    }

    /// `outcome` is one of [`IDEMPOTENCY_OUTCOMES`].
    pub fn idempotency(&self, outcome: &str) {
        self.idempotency
            .with_label_values(&[&*self.route, outcome])
            .inc();
    }

    /// `outcome` is one of [`REPLY_OUTCOMES`].
    pub fn reply(&self, outcome: &str) {
        if outcome == "matched" {
            self.matched.inc();
        } else {
            self.replies
                .with_label_values(&[&*self.route, outcome])
                .inc();
        }
    }
}

/// Makes and registers families.
struct Family<'a>(&'a Registry);

impl Family<'_> {
    fn counters(&self, define: Definition) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(define.opts(), define.labels)?)
    }

    fn gauges(&self, define: Definition) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(define.opts(), define.labels)?)
    }

    fn ratios(&self, define: Definition) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(define.opts(), define.labels)?)
    }

    fn histograms(&self, define: Definition) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::from(define.opts()).buckets(SECONDS.to_vec());
        self.register(HistogramVec::new(opts, define.labels)?)
    }

    fn gauge(&self, define: Definition) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(define.opts())?)
    }

    fn counter(&self, define: Definition) -> Result<IntCounter, prometheus::Error> {
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

impl Detached {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            count: IntCounter::new("detached", "Never exposed.")?,
            gauge: IntGauge::new("detached", "Never exposed.")?,
            seconds: Histogram::with_opts(HistogramOpts::new("detached", "Never exposed."))?,
        })
    }
}
