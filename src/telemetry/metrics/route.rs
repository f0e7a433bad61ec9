//! The metrics of one route.

use std::sync::{Arc, OnceLock};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::Metrics;

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
pub(super) struct Detached {
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

    /// `outcome` is one of [`PUBLISH_OUTCOMES`](super::PUBLISH_OUTCOMES).
    pub fn published(&self, outcome: &str) {
        if outcome == "routed" {
            self.routed.inc();
        } else {
            self.published
                .with_label_values(&[&*self.route, outcome])
                .inc();
        }
    }

    /// `outcome` is one of [`DELIVERY_OUTCOMES`](super::DELIVERY_OUTCOMES).
    pub fn delivery(&self, outcome: &str) {
        let resolve = || self.deliveries.with_label_values(&[&*self.route, outcome]);
        match outcome {
            "delivered" => self.delivered.inc(),
            "replied" => self.replied.get_or_init(resolve).inc(),
            _ => resolve().inc(),
        }
    }

    /// `outcome` is one of [`IDEMPOTENCY_OUTCOMES`](super::IDEMPOTENCY_OUTCOMES).
    pub fn idempotency(&self, outcome: &str) {
        self.idempotency
            .with_label_values(&[&*self.route, outcome])
            .inc();
    }

    /// `outcome` is one of [`REPLY_OUTCOMES`](super::REPLY_OUTCOMES).
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

impl Detached {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            count: IntCounter::new("detached", "Never exposed.")?,
            gauge: IntGauge::new("detached", "Never exposed.")?,
            seconds: Histogram::with_opts(HistogramOpts::new("detached", "Never exposed."))?,
        })
    }
}
