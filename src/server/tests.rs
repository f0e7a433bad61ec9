//! The limits of a listener, seen from a socket.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BodyLimits, Handler, Limits, Response, body,
    kind::Kind,
    refuse, serve,
    testing::{Client, PATIENCE, listener},
};
use crate::buffer::Buffer;

const BODY_LIMIT: u64 = 1000;
const BUDGET: u64 = 2000;

/// Answers with the body's length; `/wait` waits for `go` first; `/keep` keeps the body; `/large`
/// has a large answer.
struct Echo {
    buffer: Buffer,
    body_timeout: Duration,
    handled: AtomicUsize,
    begun: Notify,
    go: Notify,
    kept: std::sync::Mutex<Vec<Bytes>>,
    tracker: TaskTracker,
}

struct Running {
    address: SocketAddr,
    echo: Arc<Echo>,
    stop: CancellationToken,
    abort: CancellationToken,
    task: JoinHandle<usize>,
    used: prometheus::Gauge,
}

impl Handler for Echo {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response {
        self.handled.fetch_add(1, Ordering::Relaxed);
        let (parts, mut body) = request.into_parts();
        if parts.uri.path() == "/wait" {
            self.begun.notify_one();
            self.go.notified().await;
        }
        if parts.uri.path() == "/large" {
            self.begun.notify_one();
            // More than the kernel takes for a client that does not read.
            return Response::new(Full::new(Bytes::from(vec![b'x'; 64 << 20])));
        }
        let limits = BodyLimits {
            bytes: BODY_LIMIT,
            deadline: Instant::now() + self.body_timeout,
        };
        match body::read(&mut body, limits, &self.buffer).await {
            Ok(bytes) => {
                let length = bytes.len().to_string();
                if parts.uri.path() == "/keep" {
                    self.kept.lock().unwrap().push(bytes);
                }
                Response::new(Full::new(Bytes::from(length)))
            }
            Err(error) => {
                let begun = error.had_begun();
                let headers = &parts.headers;
                refuse(
                    error.problem(),
                    parts.version,
                    headers,
                    body,
                    begun,
                    &self.tracker,
                )
            }
        }
    }
}

async fn start(connections: usize, header_timeout: Duration, body_timeout: Duration) -> Running {
    let (listener, address) = listener().await;
    let echo = Arc::new(Echo {
        buffer: Buffer::new(BUDGET),
        body_timeout,
        handled: AtomicUsize::new(0),
        begun: Notify::new(),
        go: Notify::new(),
        kept: std::sync::Mutex::default(),
        tracker: TaskTracker::new(),
    });
    let used = prometheus::Gauge::new("used", "used").unwrap();
    let limits = Limits {
        connections,
        header_timeout,
        used: Some(used.clone()),
    };
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let tracker = TaskTracker::new();
    let serving = serve(listener, echo.clone(), limits, stop.clone(), abort.clone());
    let task = crate::task::spawn(&tracker, "test-server", serving);
    Running {
        address,
        echo,
        stop,
        abort,
        task,
        used,
    }
}

async fn relaxed() -> Running {
    start(100, PATIENCE, PATIENCE).await
}

impl Running {
    async fn ended(self) -> usize {
        timeout(PATIENCE, self.task)
            .await
            .expect("serve ends")
            .unwrap()
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn chunked(sizes: &[usize]) -> String {
    let mut request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for size in sizes {
        request.push_str(&format!("{size:x}\r\n{}\r\n", "x".repeat(*size)));
    }
    request.push_str("0\r\n\r\n");
    request
}

#[tokio::test]
async fn bodies_are_read_whole_up_to_the_limit() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.ask(post("/", "")).await.body, "0");
    assert_eq!(client.ask(post("/", &"x".repeat(1000))).await.body, "1000");
    assert_eq!(client.ask(chunked(&[1, 500, 499])).await.body, "1000");
    assert_eq!(server.echo.buffer.used_ratio(), 0.0);
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_and_the_connection_stays() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    let refused = client.ask(post("/", &"x".repeat(1001))).await;
    assert_eq!(refused.status, 413);
    assert!(refused.has("content-type: application/problem+json"));
    assert_eq!(refused.json()["type"], "urn:hareway:body-too-large");
    assert_eq!(client.ask(post("/", "abc")).await.body, "3");
}

#[tokio::test]
async fn a_refusal_comes_before_the_body() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n";
    assert_eq!(client.ask(head).await.status, 413);
    client.send("x".repeat(5000)).await;
    assert_eq!(client.ask(post("/", "abc")).await.body, "3");
}

#[tokio::test]
async fn a_body_far_too_large_is_answered_and_the_connection_closed() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
    let refused = client.ask(head).await;
    assert_eq!(refused.status, 413);
    assert!(refused.has("connection: close"));
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused_and_the_connection_stays() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.ask(chunked(&[999, 2, 4000])).await.status, 413);
    assert_eq!(server.echo.buffer.used_ratio(), 0.0);
    assert_eq!(client.ask(post("/", "abc")).await.body, "3");
}

#[tokio::test]
async fn a_refused_body_that_waits_for_leave_is_never_asked_for() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n";
    let refused = client.ask(head).await;
    assert_eq!(refused.status, 413);
    assert!(refused.has("connection: close"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_welcome_body_that_waits_for_leave_is_asked_for() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(client.ask(head).await.status, 100);
    assert_eq!(client.ask("abc").await.body, "3");
}

#[tokio::test]
async fn a_slow_body_is_timed_out() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let server = start(10, PATIENCE, Duration::from_millis(50)).await;
        let mut client = Client::connect(server.address).await;
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        let refused = client.ask(head).await;
        assert_eq!(refused.status, 408, "{framing}");
        assert_eq!(refused.json()["type"], "urn:hareway:body-timeout");
    }
}

#[tokio::test]
async fn bodies_count_until_their_last_clone_is_gone() {
    let server = relaxed().await;
    let mut client = Client::connect(server.address).await;
    let kept = post("/keep", &"x".repeat(1000));
    assert_eq!(client.ask(&kept).await.status, 200);
    assert_eq!(client.ask(&kept).await.status, 200);
    assert_eq!(server.echo.buffer.used_ratio(), 1.0);
    let refused = client.ask(post("/", "x")).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["type"], "urn:hareway:overloaded");
    assert!(refused.has("retry-after: 1"));
    server.echo.kept.lock().unwrap().clear();
    assert_eq!(client.ask(post("/", "x")).await.status, 200);
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_a_place() {
    let server = start(1, PATIENCE, PATIENCE).await;
    let mut first = Client::connect(server.address).await;
    assert_eq!(first.ask(post("/", "a")).await.status, 200);
    let mut second = Client::connect(server.address).await;
    second.send(post("/", "b")).await;
    assert_eq!(first.ask(post("/", "c")).await.status, 200);
    assert_eq!(server.echo.handled.load(Ordering::Relaxed), 2);
    drop(first);
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn the_share_of_open_connections_is_shown() {
    let server = start(4, PATIENCE, PATIENCE).await;
    assert_eq!(server.used.get(), 0.0);
    let mut first = Client::connect(server.address).await;
    let mut second = Client::connect(server.address).await;
    first.ask(post("/", "a")).await;
    second.ask(post("/", "a")).await;
    assert_eq!(server.used.get(), 0.5);
    server.stop.cancel();
    let used = server.used.clone();
    assert_eq!(server.ended().await, 0);
    assert_eq!(used.get(), 0.0);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let h2_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for begin in ["", "P", "POST / HTTP/1.1\r\nHost:", h2_preface] {
        let server = start(10, Duration::from_millis(50), PATIENCE).await;
        let mut client = Client::connect(server.address).await;
        client.send(begin).await;
        // The frames with which HTTP/2 begins and ends, or nothing.
        while !client.is_closed().await {
            client.forget();
        }
        assert_eq!(server.echo.handled.load(Ordering::Relaxed), 0, "{begin:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = start(10, Duration::from_millis(50), PATIENCE).await;
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.ask(post("/", "a")).await.status, 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_busy_connection_outlives_the_look_for_idle_ones() {
    let server = start(10, Duration::from_millis(20), PATIENCE).await;
    let mut client = Client::connect(server.address).await;
    client.send(post("/wait", "abc")).await;
    server.echo.begun.notified().await;
    // An idle connection that was opened later is gone by then.
    assert!(Client::connect(server.address).await.is_closed().await);
    server.echo.go.notify_one();
    assert_eq!(client.answer().await.body, "3");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let server = start(10, Duration::from_millis(50), PATIENCE).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.echo.begun.notified().await;
    server.stop.cancel();
    assert_eq!(server.ended().await, 0);
    drop(client);
}

#[tokio::test]
async fn stopping_answers_what_has_begun_and_closes_what_idles() {
    let server = relaxed().await;
    let mut idle = Client::connect(server.address).await;
    assert_eq!(idle.ask(post("/", "a")).await.status, 200);
    let mut busy = Client::connect(server.address).await;
    busy.send(post("/wait", "abc")).await;
    server.echo.begun.notified().await;
    server.stop.cancel();
    assert!(idle.is_closed().await);
    server.echo.go.notify_one();
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "3"));
    assert!(answer.has("connection: close"));
    assert!(TcpStream::connect(server.address).await.is_err());
    assert_eq!(server.ended().await, 0);
}

#[tokio::test]
async fn stopping_answers_a_first_request_that_was_on_its_way() {
    let server = relaxed().await;
    let mut fresh = Client::connect(server.address).await;
    // Accepted after it, so that it has been accepted, too.
    let mut other = Client::connect(server.address).await;
    assert_eq!(other.ask(post("/", "a")).await.status, 200);
    fresh.send(post("/", "abc")).await;
    server.stop.cancel();
    assert_eq!(fresh.answer().await.body, "3");
    assert_eq!(server.ended().await, 0);
}

#[tokio::test]
async fn aborting_cuts_what_has_not_ended() {
    let server = relaxed().await;
    let mut busy = Client::connect(server.address).await;
    busy.send(post("/wait", "abc")).await;
    server.echo.begun.notified().await;
    server.stop.cancel();
    server.abort.cancel();
    assert!(busy.is_closed().await);
    assert_eq!(server.ended().await, 1);
}

#[tokio::test]
async fn malformed_heads_are_refused() {
    let server = relaxed().await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: b\r\n".repeat(200)
    );
    for (request, status) in [
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            400,
        ),
        (long.as_str(), 431),
        (many.as_str(), 431),
    ] {
        let mut client = Client::connect(server.address).await;
        let answer = client.ask(request).await;
        assert_eq!(answer.status, status, "{}", &request[..40]);
    }
    assert_eq!(server.echo.handled.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn http2_is_served_by_prior_knowledge() {
    let server = relaxed().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let tracker = TaskTracker::new();
    let connection = crate::task::spawn(&tracker, "test-client", connection);
    for (size, status, body) in [(1000, 200, "1000"), (1001, 413, "")] {
        let request = Request::post("http://x/")
            .body(Full::new(Bytes::from(vec![b'x'; size])))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(!answer.headers().contains_key("connection"));
        let got = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty() || got == body);
    }
    server.stop.cancel();
    // GOAWAY ends the client's side of the connection.
    timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(server.ended().await, 0);
}

#[test]
fn every_problem_has_its_own_type_and_an_error_status() {
    let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.row().name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        let row = kind.row();
        let response = super::Problem::new(kind, "because")
            .about("a-1")
            .into_response();
        assert!(row.status.is_client_error() || row.status.is_server_error());
        assert_eq!(response.status(), row.status);
        assert_eq!(response.headers()["message-id"], "a-1");
        // 503 and 429 say "later", and beside them only what a call under way holds up.
        let later = response.headers().contains_key("retry-after");
        let waits = matches!(row.status.as_u16(), 429 | 503) || kind == Kind::IdempotencyInProgress;
        assert_eq!(later, waits, "{}", row.name);
    }
}

#[test]
fn the_documented_table_is_this_one() {
    let page = include_str!("../../docs/errors.md");
    let documented: Vec<&str> = page
        .lines()
        .filter_map(|line| line.split_once("urn:hareway:")?.1.split_once("` |"))
        .map(|(name, _)| name)
        .collect();
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.row().name).collect();
    assert_eq!(documented, names);
    for kind in Kind::ALL {
        let row = kind.row();
        let line = format!("| {} | `urn:hareway:{}` |", row.status.as_u16(), row.name);
        assert!(page.contains(&line), "{line}");
    }
}
