//! Every metric of the process, defined in one place and resolved once per route.

mod families;
mod outcomes;
mod route;
mod spool;

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

pub use outcomes::{DELIVERY_OUTCOMES, IDEMPOTENCY_OUTCOMES, PUBLISH_OUTCOMES, REPLY_OUTCOMES};
pub use route::{Children, RouteMetrics, Side};
pub use spool::SpoolMetrics;

use families::Family;
use route::Detached;

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

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// A metric that is defined twice or badly named.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let family = Family(&registry);
        let build = family.gauges(families::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let replies = family.counters(families::REPLIES_TOTAL)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            http_requests: family.counters(families::HTTP_REQUESTS_TOTAL)?,
            http_seconds: family.histograms(families::HTTP_REQUEST_SECONDS)?,
            published: family.counters(families::PUBLISHED_TOTAL)?,
            publish_seconds: family.histograms(families::PUBLISH_SECONDS)?,
            deliveries: family.counters(families::DELIVERIES_TOTAL)?,
            forward_seconds: family.histograms(families::FORWARD_SECONDS)?,
            in_flight: family.gauges(families::IN_FLIGHT)?,
            circuit_open: family.gauges(families::CIRCUIT_OPEN)?,
            waiting_replies: family.gauges(families::WAITING_REPLIES)?,
            skipped_headers: family.counters(families::SKIPPED_HEADERS_TOTAL)?,
            idempotency: family.counters(families::IDEMPOTENCY_TOTAL)?,
            parked_messages: family.gauges(families::PARKED_MESSAGES)?,
            replayed: family.counters(families::REPLAYED_TOTAL)?,
            detached: Detached::new()?,
            limit_used: family.ratios(families::LIMIT_USED_RATIO)?,
            route_limits: family.gauges(families::ROUTE_LIMIT)?,
            broker_up: family.gauge(families::BROKER_UP)?,
            broker_blocked: family.gauge(families::BROKER_BLOCKED)?,
            broker_sessions: family.counter(families::BROKER_SESSIONS_TOTAL)?,
            replies_unknown: replies.with_label_values(&["", "unknown"]),
            replies_handed_over: replies.with_label_values(&["", "handed_over"]),
            replies,
            registry,
        })
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
