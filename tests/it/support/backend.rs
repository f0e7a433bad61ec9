//! A scripted HTTP backend: answers what it is told to, and remembers every request whole.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

use super::eventually;

/// One answer of the script.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    delay: Duration,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// The request's own body and content type come back.
    Echo,
    /// Never an answer.
    Hang,
    /// The connection ends after half of the body.
    Broken,
    /// The connection ends without an answer.
    Closed,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When it was complete.
    pub at: Instant,
}

/// Ends with the value.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    script: Mutex<VecDeque<Answer>>,
    otherwise: Mutex<Answer>,
    /// For requests with this `Message-Id`, before the script.
    by_id: Mutex<HashMap<String, Answer>>,
    requests: Mutex<Vec<Recorded>>,
    /// Under way now, and the most that ever were.
    busy: watch::Sender<(usize, usize)>,
    /// Requests that hang, or wait, go on when this turns.
    released: watch::Sender<bool>,
}

// === impl Answer ===

impl Answer {
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            delay: Duration::ZERO,
            end: End::Whole,
        }
    }

    pub fn ok() -> Self {
        Self::status(200)
    }

    pub fn echo() -> Self {
        Self::ok().ending(End::Echo)
    }

    /// Never answers, until [`Backend::release`].
    pub fn hang() -> Self {
        Self::ok().ending(End::Hang)
    }

    /// Closes the connection in the middle of the answer's body.
    pub fn broken() -> Self {
        Self::ok().ending(End::Broken)
    }

    /// Closes the connection instead of an answer.
    pub fn closed() -> Self {
        Self::ok().ending(End::Closed)
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header value");
        self.headers.append(name, value);
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}

// === impl Recorded ===

impl Recorded {
    /// Empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("printable"))
    }
}

// === impl Backend ===

impl Backend {
    /// Answers 200 until told otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::serve(listener)
    }

    pub fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            script: Mutex::default(),
            otherwise: Mutex::new(Answer::ok()),
            by_id: Mutex::default(),
            requests: Mutex::default(),
            busy: watch::Sender::new((0, 0)),
            released: watch::Sender::new(false),
        });
        let task = tokio::spawn(accept(listener, state.clone()));
        Self {
            address,
            state,
            task,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next answers, in this order.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.script.lock().unwrap().extend(answers);
    }

    /// The answer when the script is at its end.
    pub fn otherwise(&self, answer: Answer) {
        *self.state.otherwise.lock().unwrap() = answer;
    }

    /// The answer to every request with this `Message-Id`, whatever the script says.
    pub fn always(&self, id: &str, answer: Answer) {
        let mut by_id = self.state.by_id.lock().unwrap();
        by_id.insert(id.to_owned(), answer);
    }

    /// Lets hanging requests go, now and later.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.state.requests.lock().unwrap().len()
    }

    /// Requests under way now.
    pub fn busy(&self) -> usize {
        self.state.busy.borrow().0
    }

    /// The most requests that were ever under way at once.
    pub fn busiest(&self) -> usize {
        self.state.busy.borrow().1
    }

    /// Waits for at least `count` requests in all.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> Vec<Recorded> {
        eventually(limit, "requests at the backend", async || {
            let found = self.requests();
            if found.len() >= count {
                Ok(found)
            } else {
                Err(format!("{} of {count}", found.len()))
            }
        })
        .await
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Connections end with the listener.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        drop(stream.set_nodelay(true));
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), request));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A connection that the bridge breaks is no matter here.
            drop(
                builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Err(std::io::Error::other("the request broke off"));
    };
    let body = body.to_bytes();
    let content_type = head.headers.get("content-type").cloned();
    let id = head.headers.get("message-id");
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let own = state.by_id.lock().unwrap().get(id).cloned();
    let next = {
        let mut script = state.script.lock().unwrap();
        state.requests.lock().unwrap().push(Recorded {
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            method: head.method,
            headers: head.headers,
            body: body.clone(),
            at: Instant::now(),
        });
        own.or_else(|| script.pop_front())
            .unwrap_or_else(|| state.otherwise.lock().unwrap().clone())
    };
    let _busy = Busy::new(&state);
    let mut released = state.released.subscribe();
    if next.end == End::Hang {
        drop(released.wait_for(|released| *released).await);
    } else if !next.delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(next.delay) => {}
            released = released.wait_for(|released| *released) => drop(released),
        }
    }
    respond(next, body, content_type)
}

fn respond(
    next: Answer,
    request_body: Bytes,
    content_type: Option<HeaderValue>,
) -> Result<Response<Body>, std::io::Error> {
    let mut response = Response::builder().status(next.status);
    for (name, value) in &next.headers {
        response = response.header(name, value);
    }
    let body = match next.end {
        End::Closed => return Err(std::io::Error::other("told to close")),
        End::Broken => {
            response = response.header("content-length", 1000);
            let pieces = [
                Ok(Frame::data(Bytes::from_static(&[b'x'; 500]))),
                Err(std::io::Error::other("told to break off")),
            ];
            StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync()
        }
        End::Echo => {
            if let Some(content_type) = content_type {
                response = response.header("content-type", content_type);
            }
            full(request_body)
        }
        End::Whole | End::Hang => full(next.body),
    };
    response.body(body).map_err(std::io::Error::other)
}

fn full(body: Bytes) -> Body {
    http_body_util::Full::new(body)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// Counts a request as under way.
struct Busy<'a>(&'a State);

impl<'a> Busy<'a> {
    fn new(state: &'a State) -> Self {
        state.busy.send_modify(|(now, most)| {
            *now += 1;
            *most = (*most).max(*now);
        });
        Self(state)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.send_modify(|(now, _)| *now -= 1);
    }
}

/// A server that answers every connection's first bytes with `bytes` and closes. Gives its
/// address; it ends with the runtime.
pub async fn raw_server(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 16 * 1024];
                if stream.read(&mut head).await.is_ok() {
                    drop(stream.write_all(bytes).await);
                }
            });
        }
    });
    address
}
