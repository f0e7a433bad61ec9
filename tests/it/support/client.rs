//! HTTP clients: a proper one that checks every answer's form, and a raw one for improper bytes.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// No call of a test may take longer, unless it says so.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
}

/// A request in the making.
#[derive(Debug)]
pub struct Call<'a> {
    client: &'a Client,
    request: http::request::Builder,
    body: Bytes,
    limit: Duration,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

// === impl Client ===

impl Client {
    /// HTTP/1.1.
    pub fn new(address: SocketAddr) -> Self {
        Self::build(address, false)
    }

    /// HTTP/2 without TLS, by prior knowledge.
    pub fn h2c(address: SocketAddr) -> Self {
        Self::build(address, true)
    }

    fn build(address: SocketAddr, h2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(h2)
            .build(connector);
        Self {
            pool,
            base: format!("http://{address}"),
        }
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            client: self,
            request: Request::builder()
                .method(method)
                .uri(format!("{}{path}", self.base)),
            body: Bytes::new(),
            limit: CALL_LIMIT,
        }
    }
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Instead of the usual limit.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// An answer that is no success must be a problem document.
    ///
    /// # Panics
    /// Where there is no answer.
    pub async fn send(self) -> Reply {
        let reply = self.send_plain().await;
        if reply.status.is_client_error() || reply.status.is_server_error() {
            reply.check_problem();
        }
        reply
    }

    /// Whatever comes, for answers that are somebody else's.
    ///
    /// # Panics
    /// Where there is no answer.
    pub async fn send_plain(self) -> Reply {
        self.attempt()
            .await
            .unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// For calls that may find nobody.
    ///
    /// # Errors
    /// What went wrong instead of an answer.
    pub async fn attempt(self) -> Result<Reply, String> {
        let request = self
            .request
            .body(Full::new(self.body))
            .map_err(|error| error.to_string())?;
        let pool = self.client.pool.clone();
        let call = async move {
            let response = pool
                .request(request)
                .await
                .map_err(|error| format!("{error:?}"))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok(Reply {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let limit = self.limit;
        timeout(limit, call)
            .await
            .map_err(|_| format!("not within {limit:?}"))?
    }
}

// === impl Reply ===

impl Reply {
    /// Empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("printable"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The problem's type without its `urn:hareway:`.
    pub fn problem(&self) -> String {
        let json = self.json();
        let kind = json["type"].as_str().unwrap_or_default();
        kind.trim_start_matches("urn:hareway:").to_owned()
    }

    pub fn detail(&self) -> String {
        let json = self.json();
        json["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// Its status, checked, with the whole answer in the message.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{:?} {}",
            self.headers,
            self.text()
        );
        self
    }

    /// A problem of this status and type.
    pub fn expect_problem(self, status: u16, kind: &str) -> Self {
        let reply = self.expect(status);
        reply.check_problem();
        assert_eq!(reply.problem(), kind, "{}", reply.text());
        reply
    }

    /// RFC 9457: media type, members, and a status that agrees with the head's.
    pub fn check_problem(&self) {
        let whole = format!("{} {:?} {}", self.status, self.headers, self.text());
        let media = self.header("content-type");
        assert!(media.starts_with("application/problem+json"), "{whole}");
        let json = self.json();
        for member in ["type", "title", "detail"] {
            let text = json[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{member} is missing: {whole}");
        }
        let kind = json["type"].as_str().unwrap_or_default();
        assert!(kind.starts_with("urn:hareway:"), "{whole}");
        assert_eq!(json["status"], self.status.as_u16(), "{whole}");
    }
}

// === raw bytes ===

/// A bare connection, for what no HTTP client would send.
#[derive(Debug)]
pub struct Raw(TcpStream);

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        drop(stream.set_nodelay(true));
        Self(stream)
    }

    /// A peer that closes before it has read everything is no failure here.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// Waits for the first bytes, `most` at the most.
    pub async fn read_some(&mut self, most: usize, limit: Duration) -> Vec<u8> {
        let mut piece = vec![0; most];
        match timeout(limit, self.0.read(&mut piece)).await {
            Ok(Ok(length)) => piece.truncate(length),
            Ok(Err(_)) | Err(_) => piece.clear(),
        }
        piece
    }

    /// Up to the connection's end, or `limit`; tells which.
    pub async fn read_to_end(&mut self, limit: Duration) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        let mut piece = vec![0; 16 * 1024];
        loop {
            match timeout(limit, self.0.read(&mut piece)).await {
                Err(_) => return (all, false),
                Ok(Ok(0) | Err(_)) => return (all, true),
                Ok(Ok(length)) => all.extend_from_slice(&piece[..length]),
            }
        }
    }

    /// One answer with a `Content-Length`; `None` where the connection ends first.
    pub async fn read_answer(&mut self, limit: Duration) -> Option<(u16, String)> {
        let mut all = Vec::new();
        let read = async {
            let mut piece = vec![0; 16 * 1024];
            loop {
                if let Some(answer) = parse_answer(&all) {
                    return Some(answer);
                }
                match self.0.read(&mut piece).await {
                    Ok(length @ 1..) => all.extend_from_slice(&piece[..length]),
                    Ok(0) | Err(_) => return None,
                }
            }
        };
        let answer = timeout(limit, read).await;
        answer.unwrap_or_else(|_| panic!("neither an answer nor the end within {limit:?}"))
    }
}

fn parse_answer(bytes: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    })?;
    (body.len() >= length).then(|| (status, format!("{head}\r\n\r\n{body}")))
}
