//! The accept loop.

use std::{
    convert::Infallible,
    future::Future,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use http::Request;
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Response,
    activity::{Activity, Cuts},
    connection::drive,
};
use crate::task;

/// The most bytes of a request's head, and of what HTTP/1 reads at once. A message's properties and headers must fit into one AMQP
/// frame (128 KiB as negotiated), and the path travels in them as well.
const HEAD_LIMIT: u32 = 64 * 1024;
/// Requests open at once on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// How often an HTTP/2 peer is pinged, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause after a failed accept: when descriptors have run out, the next one fails as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The future is dropped when the client leaves.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response> + Send + 'static;
}

/// The bounds of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's accept queue.
    pub connections: usize,
    /// From accept, or from the end of the previous request, until a request's head is complete.
    pub header_timeout: Duration,
    /// Shows how many of `connections` are open, from 0 to 1.
    pub used: Option<prometheus::Gauge>,
}

/// Everything that connections share.
struct Shared<H> {
    handler: Arc<H>,
    limits: Limits,
    builder: auto::Builder<Tracked>,
    permits: Arc<Semaphore>,
    tracker: TaskTracker,
    connections: Mutex<usize>,
    cuts: Arc<Cuts>,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// Runs HTTP/2 streams as tasks that a shutdown can wait for and end.
#[derive(Clone)]
struct Tracked {
    tracker: TaskTracker,
    abort: CancellationToken,
}

/// Serves http/1.1 and HTTP/2 by prior knowledge until `stop`, then answers what has begun.
///
/// Returns when every connection is done, or soon after `abort`; the number says how many
/// requests were cut off.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    limits: Limits,
    stop: CancellationToken,
    abort: CancellationToken,
) -> usize {
    let tracker = TaskTracker::new();
    let shared = Arc::new(Shared {
        handler,
        builder: builder(&limits, &tracker, &abort),
        permits: Arc::new(Semaphore::new(limits.connections)),
        limits,
        tracker,
        connections: Mutex::default(),
        cuts: Arc::new(Cuts {
            abort: abort.clone(),
            count: AtomicUsize::new(0),
        }),
        stop,
        abort,
    });
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => {}
        () = shared.abort.cancelled() => {}
        () = accept(&listener, &shared) => {}
    }
    // Connections that are complete already have been promised an answer by the kernel.
    while let Ok(permit) = shared.permits.clone().try_acquire_owned()
        && let Some(Ok((stream, _))) = listener.accept().now_or_never()
    {
        open(&shared, stream, permit);
    }
    drop(listener);
    shared.tracker.close();
    // An abort ends the tasks themselves.
    shared.tracker.wait().await;
    shared.cuts.count.load(Ordering::Relaxed)
}

async fn accept<H: Handler>(listener: &TcpListener, shared: &Arc<Shared<H>>) {
    let mut pause = ACCEPT_PAUSE;
    // The permit comes first: a connection that may not be served stays with the kernel.
    while let Ok(permit) = shared.permits.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                pause = ACCEPT_PAUSE;
                open(shared, stream, permit);
            }
            Err(error) if is_about_one_connection(&error) => {
                tracing::debug!(%error, "connection lost before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, ?pause, "cannot accept connections");
                sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

/// Starts the task of one connection.
fn open<H: Handler>(shared: &Arc<Shared<H>>, stream: TcpStream, permit: OwnedSemaphorePermit) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    shared.count(|connections| connections + 1);
    let shared = shared.clone();
    let tracker = shared.tracker.clone();
    drop(task::spawn(&tracker, "http-connection", async move {
        let activity = Activity::default();
        let service = {
            let (shared, activity) = (shared.clone(), activity.clone());
            service_fn(move |request| {
                let open = activity.begin(&shared.cuts);
                // It is large, and handed on a few times before it is polled.
                let answer = Box::pin(shared.handler.clone().handle(request));
                async move {
                    let answer = answer.await;
                    open.answered();
                    Ok::<_, Infallible>(answer)
                }
            })
        };
        let io = TokioIo::new(activity.count(stream));
        let connection = shared.builder.serve_connection(io, service);
        let patience = shared.limits.header_timeout;
        // Their own tokens: one that is shared would be locked by every connection at every turn.
        let (stop, abort) = (shared.stop.child_token(), shared.abort.child_token());
        drive(connection, &activity, patience, &stop, &abort).await;
        shared.count(|connections| connections.saturating_sub(1));
        drop(permit);
    }));
}

fn builder(
    limits: &Limits,
    tracker: &TaskTracker,
    abort: &CancellationToken,
) -> auto::Builder<Tracked> {
    let mut builder = auto::Builder::new(Tracked {
        tracker: tracker.clone(),
        abort: abort.clone(),
    });
    builder
        .http1()
        // Without a timer the time limit is ignored.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_LIMIT as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_LIMIT)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Errors that the next accept does not meet again.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

// === impl Shared ===

impl<H> Shared<H> {
    /// The permits would not do: the accept loop holds one for the connection to come.
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let connections = self.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        *connections = change(*connections);
        // Under the lock, so that an older count never overwrites a newer one.
        if let Some(gauge) = &self.limits.used {
            gauge.set(*connections as f64 / self.limits.connections.max(1) as f64);
        }
    }
}

// === impl Tracked ===

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let abort = self.abort.clone();
        drop(task::spawn(&self.tracker, "http2-stream", async move {
            abort.run_until_cancelled(stream).await
        }));
    }
}
