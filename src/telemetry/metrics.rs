//! Every metric of the process, defined in one place and resolved once per route.

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Upper bounds in seconds: from half a millisecond to a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// What a publish came to; the label `outcome` of `hareway_published_total`.
pub const PUBLISH_OUTCOMES: [&str; 10] = [
    "routed",
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
pub const DELIVERY_OUTCOMES: [&str; 7] = [
    "delivered",
    "replied",
    "retried",
    "parked",
    "dropped",
    "requeued",
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
    replies: IntCounterVec,
    waiting_replies: IntGaugeVec,
    skipped_headers: IntCounterVec,
    parked_messages: IntGaugeVec,
    limit_used: GaugeVec,
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

/// The children of one route's labels.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    http_requests: IntCounterVec,
    published: IntCounterVec,
    deliveries: IntCounterVec,
    replies: IntCounterVec,
    route: std::sync::Arc<str>,
    accepted: IntCounter,
    routed: IntCounter,
    delivered: IntCounter,
    matched: IntCounter,
    pub http_seconds: Histogram,
    pub publish_seconds: Histogram,
    pub forward_seconds: Histogram,
    pub in_flight: IntGauge,
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
        let build = family.gauges(
            "hareway_build_info",
            "Constant 1, with the version.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let replies = family.counters(
            "hareway_replies_total",
            "Replies by outcome.",
            &["route", "outcome"],
        )?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            http_requests: family.counters(
                "hareway_http_requests_total",
                "Answered HTTP requests by status; route is empty where none matched.",
                &["route", "status"],
            )?,
            http_seconds: family.histograms(
                "hareway_http_request_seconds",
                "From a request's head to its answer, in seconds.",
                &["route"],
            )?,
            published: family.counters(
                "hareway_published_total",
                "Publishes by what the broker made of them.",
                &["route", "outcome"],
            )?,
            publish_seconds: family.histograms(
                "hareway_publish_seconds",
                "From handing a message to the publisher to its outcome, in seconds.",
                &["route"],
            )?,
            deliveries: family.counters(
                "hareway_deliveries_total",
                "Deliveries by how they were settled.",
                &["route", "outcome"],
            )?,
            forward_seconds: family.histograms(
                "hareway_forward_seconds",
                "One backend call, in seconds.",
                &["route"],
            )?,
            in_flight: family.gauges("hareway_in_flight", "Calls under way.", &["route"])?,
            waiting_replies: family.gauges(
                "hareway_waiting_replies",
                "HTTP calls held open for a reply.",
                &["route"],
            )?,
            skipped_headers: family.counters(
                "hareway_skipped_headers_total",
                "Headers that the other side cannot carry.",
                &["route"],
            )?,
            parked_messages: family.gauges(
                "hareway_parked_messages",
                "Messages in a parked queue, as last seen.",
                &["queue"],
            )?,
            limit_used: family.ratios(
                "hareway_limit_used_ratio",
                "How much of a limit is used, from 0 to 1.",
                &["limit"],
            )?,
            broker_up: family.gauge("hareway_broker_up", "1 while the broker is usable.")?,
            broker_blocked: family.gauge(
                "hareway_broker_blocked",
                "1 while the broker blocks publishers.",
            )?,
            broker_sessions: family.counter(
                "hareway_broker_sessions_total",
                "Broker connections opened.",
            )?,
            replies_unknown: replies.with_label_values(&["", "unknown"]),
            replies_handed_over: replies.with_label_values(&["", "handed_over"]),
            replies,
            registry,
        })
    }

    /// The children for one route, resolved once.
    pub fn route(&self, name: &std::sync::Arc<str>) -> RouteMetrics {
        let label: &[&str] = &[name];
        RouteMetrics {
            accepted: self.http_requests.with_label_values(&[&**name, "202"]),
            routed: self.published.with_label_values(&[&**name, "routed"]),
            delivered: self.deliveries.with_label_values(&[&**name, "delivered"]),
            matched: self.replies.with_label_values(&[&**name, "matched"]),
            http_requests: self.http_requests.clone(),
            published: self.published.clone(),
            deliveries: self.deliveries.clone(),
            replies: self.replies.clone(),
            route: name.clone(),
            http_seconds: self.http_seconds.with_label_values(label),
            publish_seconds: self.publish_seconds.with_label_values(label),
            forward_seconds: self.forward_seconds.with_label_values(label),
            in_flight: self.in_flight.with_label_values(label),
            waiting_replies: self.waiting_replies.with_label_values(label),
            skipped_headers: self.skipped_headers.with_label_values(label),
        }
    }

    /// The gauge of one limit, such as `connections`; set it between 0 and 1.
    pub fn limit(&self, name: &str) -> Gauge {
        self.limit_used.with_label_values(&[name])
    }

    pub fn parked(&self, queue: &str) -> IntGauge {
        self.parked_messages.with_label_values(&[queue])
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

impl RouteMetrics {
    pub fn http_request(&self, status: http::StatusCode) {
        if status == http::StatusCode::ACCEPTED {
            self.accepted.inc();
        } else {
            self.http_requests
                .with_label_values(&[&*self.route, status.as_str()])
                .inc();
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
        if outcome == "delivered" {
            self.delivered.inc();
        } else {
            self.deliveries
                .with_label_values(&[&*self.route, outcome])
                .inc();
        }
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
    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let made = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn ratios(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, prometheus::Error> {
        let made = GaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let made = HistogramVec::new(
            HistogramOpts::new(name, help).buckets(SECONDS.to_vec()),
            labels,
        )?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let made = IntGauge::new(name, help)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let made = IntCounter::new(name, help)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}
