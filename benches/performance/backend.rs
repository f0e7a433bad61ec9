//! A backend that takes everything at once, and knows what it has been given.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::errors::Errors;

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
    awaited: HashMap<String, oneshot::Sender<()>>,
}

/// Tells when a message has come.
#[derive(Clone)]
pub(crate) struct Arrivals(Arc<Mutex<Taken>>);

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
            awaited: HashMap::new(),
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

    /// Waits until every expected message has come; gives the time since the first call.
    pub(crate) async fn complete(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        let complete = self.complete.wait_for(Option::is_some);
        let outcome = timeout(limit, complete).await.map(|seen| seen.is_ok());
        let taken = lock(&self.taken);
        let (have, expected) = (taken.ids.len(), taken.expected);
        anyhow::ensure!(
            outcome == Ok(true),
            "{have} of {expected} delivered in {limit:?}"
        );
        let end = (*taken.complete.borrow()).context("a time")?;
        Ok(end - taken.first.context("a first call")?)
    }

    /// For messages beyond the expected ones.
    pub(crate) fn arrivals(&self) -> Arrivals {
        Arrivals(self.taken.clone())
    }

    /// What came twice or changed, so far.
    pub(crate) fn errors(&self) -> Errors {
        let taken = lock(&self.taken);
        let wrong = taken.wrong;
        let repeated = taken.calls - taken.ids.len() as u64 - wrong;
        let mut errors = Errors::default();
        errors.add(repeated, || format!("{repeated} delivered again"));
        errors.add(wrong, || format!("{wrong} calls were not as sent"));
        errors
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
    let mut taken = lock(&taken);
    taken.note(id.filter(|_| whole));
    Ok(Response::new(Full::default()))
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Arrivals ===

impl Arrivals {
    /// Ends when the message of this id has come; to be asked for before it is sent.
    pub(crate) fn of(&self, id: String) -> oneshot::Receiver<()> {
        let (sender, arrival) = oneshot::channel();
        lock(&self.0).awaited.insert(id, sender);
        arrival
    }
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
                if let Some(awaited) = self.awaited.remove(&id) {
                    awaited.send(()).ok();
                }
                if self.ids.insert(id) && self.ids.len() == self.expected {
                    self.complete.send_replace(Some(now));
                }
            }
        }
    }
}
