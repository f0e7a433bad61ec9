//! The names of the broker objects that Hareway makes itself.

use std::time::Duration;

/// The delay queue of one route and tier, such as `hareway.retry.fulfil-order.5s`.
pub fn retry_queue(route: &str, delay: Duration) -> String {
    let delay = humantime::format_duration(delay)
        .to_string()
        .replace(' ', "");
    format!("hareway.retry.{route}.{delay}")
}

/// Where a route's undeliverable messages go unless it names a queue.
pub fn parked_queue(route: &str) -> String {
    format!("hareway.parked.{route}")
}

/// The reply queue of one process.
pub fn reply_queue(instance: &str) -> String {
    format!("hareway.reply.{instance}")
}
