//! The metrics of the store.

use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec};

use super::{
    Metrics,
    families::{self, Family},
};

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

impl Metrics {
    /// The gauges of the store, which are registered here and now.
    ///
    /// # Errors
    /// The second time.
    pub fn spool(&self) -> Result<SpoolMetrics, prometheus::Error> {
        let family = Family(&self.registry);
        Ok(SpoolMetrics {
            messages: family.gauges(families::SPOOL_MESSAGES)?,
            bytes: family.gauges(families::SPOOL_BYTES)?,
            oldest_seconds: family.ratios(families::SPOOL_OLDEST_SECONDS)?,
            apart_messages: family.gauges(families::SPOOL_APART_MESSAGES)?,
            store_up: family.gauge(families::STORE_UP)?,
            limit: self.limit("spool"),
        })
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
