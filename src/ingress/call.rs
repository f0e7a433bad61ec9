//! One HTTP call, counted exactly once however it ends.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::StatusCode;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::inlet::Inlet;
use crate::{task, telemetry::RouteMetrics};

/// A request on its way. Dropping it unanswered counts it under the status 499, which is never
/// sent: the client left.
pub(super) struct Call {
    inlet: Arc<Inlet>,
    /// When the request's head was complete; deadlines count from here.
    pub(super) arrived: Instant,
    answered: bool,
}

/// A future that goes on as a task of its own when it is dropped before its end.
pub(super) struct Detached<T: Send + 'static> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    tracker: TaskTracker,
}

// === impl Call ===

impl Call {
    pub(super) fn begin(inlet: &Arc<Inlet>, arrived: Instant) -> Self {
        inlet.metrics.in_flight.inc();
        Self {
            inlet: inlet.clone(),
            arrived,
            answered: false,
        }
    }

    pub(super) fn answered(mut self, status: StatusCode) {
        self.answered = true;
        count(&self.inlet.metrics, self.arrived, status);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.inlet.metrics.in_flight.dec();
        if !self.answered
            && let Ok(left) = StatusCode::from_u16(499)
        {
            count(&self.inlet.metrics, self.arrived, left);
        }
    }
}

/// Counts one answer.
pub(super) fn count(metrics: &RouteMetrics, arrived: Instant, status: StatusCode) {
    metrics.http_request(status);
    metrics
        .http_seconds
        .observe(arrived.elapsed().as_secs_f64());
}

// === impl Detached ===

impl<T: Send + 'static> Detached<T> {
    pub(super) fn new(
        tracker: &TaskTracker,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        Self {
            future: Some(Box::pin(future)),
            tracker: tracker.clone(),
        }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else {
            // Polled again after its end, which no caller does.
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            drop(task::spawn(&self.tracker, "finish-publish", future));
        }
    }
}
