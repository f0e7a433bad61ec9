//! Logs and metrics.

pub mod limits;
pub mod logs;
pub mod metrics;

pub use metrics::{Metrics, RouteMetrics, Side, SpoolMetrics};
