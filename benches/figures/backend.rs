//! A backend that takes everything at once, and knows what it has been given.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

/// Runs until it is dropped.
pub(crate) struct Backend {
    pub(crate) port: u16,
    taken: Arc<Mutex<Taken>>,
    complete: watch::Receiver<Option<Instant>>,
    _tasks: JoinSet<()>,
}

struct Taken {
    ids: HashSet<String>,
    expected: usize,
    calls: u64,
    wrong: u64,
    first: Option<Instant>,
    complete: watch::Sender<Option<Instant>>,
}

/// What a backend was given, when it had everything.
pub(crate) struct Delivered {
    /// From the first call to the one that made it complete.
    pub(crate) took: Duration,
    /// Calls with a message that had been there before.
    pub(crate) repeated: u64,
    /// Calls without an id, or with a body of another length than was sent.
    pub(crate) wrong: u64,
}

// === impl Backend ===

impl Backend {
    /// Expects `expected` messages of `length` bytes.
    pub(crate) async fn start(expected: usize, length: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (sender, complete) = watch::channel(None);
        let taken = Arc::new(Mutex::new(Taken {
            ids: HashSet::with_capacity(expected),
            expected,
            calls: 0,
            wrong: 0,
            first: None,
            complete: sender,
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, taken.clone(), length));
        Ok(Self {
            port,
            taken,
            complete,
            _tasks: tasks,
        })
    }

    /// Waits until every message has come.
    pub(crate) async fn complete(&mut self, limit: Duration) -> anyhow::Result<Delivered> {
        let complete = self.complete.wait_for(Option::is_some);
        let outcome = timeout(limit, complete).await.map(|seen| seen.is_ok());
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (have, expected) = (taken.ids.len(), taken.expected);
        anyhow::ensure!(
            outcome == Ok(true),
            "{have} of {expected} delivered in {limit:?}"
        );
        let end = (*taken.complete.borrow()).context("a time")?;
        Ok(Delivered {
            took: end - taken.first.context("a first call")?,
            repeated: taken.calls.saturating_sub(have as u64 + taken.wrong),
            wrong: taken.wrong,
        })
    }
}

async fn serve(listener: TcpListener, taken: Arc<Mutex<Taken>>, length: usize) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let taken = taken.clone();
        let service = service_fn(move |request| take(request, taken.clone(), length));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new());
        connections.spawn(async move {
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn take(
    request: Request<Incoming>,
    taken: Arc<Mutex<Taken>>,
    length: usize,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let id = request.headers().get("message-id");
    let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await;
    let whole = body.is_ok_and(|body| body.to_bytes().len() == length);
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    taken.note(id.filter(|_| whole));
    Ok(Response::new(Full::default()))
}

// === impl Taken ===

impl Taken {
    fn note(&mut self, id: Option<String>) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.calls += 1;
        match id {
            None => self.wrong += 1,
            Some(id) => {
                if self.ids.insert(id) && self.ids.len() == self.expected {
                    self.complete.send_replace(Some(now));
                }
            }
        }
    }
}
