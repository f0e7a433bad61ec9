//! The one place that starts tasks: each is tracked and has a name.

use std::future::Future;

use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Starts `future` on the runtime, tracked by `tracker`, so that a shutdown can wait for it.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the wrapper that everything else calls"
)]
pub fn spawn<F>(
    tracker: &TaskTracker,
    name: &'static str,
    future: F,
) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tracker.spawn(future.instrument(tracing::trace_span!("task", name)))
}
