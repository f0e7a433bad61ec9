//! A load of HTTP requests over connections that stay open.

use anyhow::Context;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::closed_loop::Caller;

/// Of every request: one of the paths of a bridge with many routes.
pub(crate) const PATH: &str = "/team-0/orders-0/o-7f3a";

/// One connection. After an error it is a new one, so that their number stays the same.
pub(crate) struct Connection {
    port: u16,
    /// Every answer that is something else is an error.
    status: u16,
    request: Bytes,
    stream: Option<TcpStream>,
    response: Vec<u8>,
}

/// Opens `count` connections for requests with a body of `body` bytes.
pub(crate) async fn open(
    count: usize,
    port: u16,
    status: u16,
    body: usize,
) -> anyhow::Result<Vec<Connection>> {
    let request: Bytes = request(body).into();
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection {
            port,
            status,
            request: request.clone(),
            stream: Some(connect(port).await.context("cannot open a connection")?),
            response: Vec::with_capacity(2048),
        });
    }
    Ok(connections)
}

fn request(body: usize) -> Vec<u8> {
    let mut request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {body}\r\n\r\n"
    )
    .into_bytes();
    request.resize(request.len() + body, b'x');
    request
}

async fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Caller for Connection {
    async fn call(&mut self) -> anyhow::Result<()> {
        // Taken out, so that a call that fails or is given up leaves no half-read connection.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.port).await?,
        };
        let status = exchange(&mut stream, &self.request, &mut self.response).await?;
        self.stream = Some(stream);
        anyhow::ensure!(status == self.status, "status {status}");
        Ok(())
    }
}

/// Writes a request and reads the whole response; gives its status.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    response: &mut Vec<u8>,
) -> anyhow::Result<u16> {
    stream.write_all(request).await?;
    response.clear();
    let mut length = None;
    loop {
        if stream.read_buf(response).await? == 0 {
            anyhow::bail!("the connection was closed");
        }
        if length.is_none() {
            length = head(response)?;
        }
        if let Some((status, length)) = length
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
