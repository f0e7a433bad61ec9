//! A closed-loop load: each connection has one request under way, always.

use std::time::Duration;

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::errors::Errors;

/// What to send.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) path: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) connections: u16,
    /// Every answer that is something else is an error.
    pub(crate) status: u16,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came back.
#[derive(Default)]
pub(crate) struct Answered {
    /// Of the requests that were answered well within the measured time.
    pub(crate) latencies: Vec<Duration>,
    /// Good answers, those before and after the measured time too.
    pub(crate) good: u64,
    pub(crate) errors: Errors,
}

/// Longer than any time-out of what is measured.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

// === impl Load ===

impl Load {
    /// Runs the load; `sample` is called at the beginning and at the end of the measured time.
    pub(crate) async fn run(
        &self,
        mut sample: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Answered> {
        let from = Instant::now() + self.warm_up;
        let until = from + self.measured;
        let mut connections = JoinSet::new();
        for _ in 0..self.connections {
            connections.spawn(self.clone().connection(from, until));
        }
        sleep_until(from).await;
        sample()?;
        sleep_until(until).await;
        sample()?;
        let mut all = Answered::default();
        while let Some(one) = connections.join_next().await {
            let one = one?;
            all.latencies.extend(one.latencies);
            all.good += one.good;
            all.errors.merge(one.errors);
        }
        Ok(all)
    }

    /// One connection's requests. After an error it goes on with a new connection.
    async fn connection(self, from: Instant, until: Instant) -> Answered {
        let mut answered = Answered::default();
        let request = self.request();
        let mut stream = None;
        while Instant::now() < until {
            let begin = Instant::now();
            let exchanged = exchange(&mut stream, self.port, &request);
            let status = match timeout(ANSWER_LIMIT, exchanged).await {
                Ok(status) => status,
                Err(_) => Err(anyhow::anyhow!("no answer")),
            };
            match status {
                Ok(status) if status == self.status => {
                    answered.good += 1;
                    let end = Instant::now();
                    if end >= from && end < until {
                        answered.latencies.push(end - begin);
                    }
                }
                Ok(status) => answered.errors.add(1, || format!("status {status}")),
                Err(error) => {
                    stream = None;
                    answered.errors.add(1, || format!("{error:#}"));
                }
            }
        }
        answered
    }

    fn request(&self) -> Vec<u8> {
        let Self { path, body, .. } = self;
        let length = body.len();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    }
}

/// Writes a request and reads the whole response; gives its status.
async fn exchange(
    connected: &mut Option<TcpStream>,
    port: u16,
    request: &[u8],
) -> anyhow::Result<u16> {
    let stream = match connected {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            connected.insert(stream)
        }
    };
    stream.write_all(request).await?;
    let mut response = Vec::with_capacity(2048);
    loop {
        if stream.read_buf(&mut response).await? == 0 {
            anyhow::bail!("the connection was closed");
        }
        if let Some((status, length)) = head(&response)?
            && response.len() >= length
        {
            anyhow::ensure!(response.len() == length, "more than one response");
            return Ok(status);
        }
    }
}

/// The status and the length of the whole response, once its head is there.
fn head(response: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(response.get(..end).unwrap_or_default())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.context("no status line")?.parse()?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("a response without Content-Length")?;
    let length: usize = length.1.trim().parse()?;
    Ok(Some((status, end + 4 + length)))
}
