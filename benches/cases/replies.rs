//! The table of calls that wait for their replies.

use bytes::Bytes;
use hareway::{
    message::Message,
    telemetry::{Metrics, RouteMetrics, Side},
};
use lapin::{BasicProperties, types::ShortString};
use prometheus::IntCounter;

use super::table::{Matched, Replies, Waiter};

/// A table in which some calls wait all the time.
pub(crate) struct Waiting {
    replies: Replies,
    metrics: RouteMetrics,
    unknown: IntCounter,
    _others: Vec<Waiter>,
}

impl Waiting {
    pub(crate) fn new(others: usize) -> Self {
        let metrics = Metrics::new().expect("metrics");
        let metrics = metrics.route(&"quotes".into(), Side::Inbound);
        let replies = Replies::new("bench");
        let wait = |_| replies.register(&metrics, usize::MAX).expect("no limit");
        let unknown = IntCounter::new("unknown", "replies without a call").expect("a counter");
        Self {
            _others: (0..others).map(wait).collect(),
            replies,
            metrics,
            unknown,
        }
    }

    /// Registers a call, and hands it the reply that comes for it.
    pub(crate) fn answer(&self) {
        let waiter = self.replies.register(&self.metrics, usize::MAX);
        let waiter = waiter.expect("no limit");
        let reply = Message {
            exchange: ShortString::default(),
            routing_key: ShortString::default(),
            redelivered: false,
            properties: BasicProperties::default().with_correlation_id(waiter.id().clone()),
            body: Bytes::new(),
        };
        let matched = self.replies.dispatch(reply, &self.unknown);
        assert!(matches!(matched, Matched::Here), "its own process");
        assert_eq!(self.unknown.get(), 0, "a reply without a call");
        waiter.withdraw();
    }
}
