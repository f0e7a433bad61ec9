//! A backend that can be put into every bad state and back, and enters what reaches it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::ledger::Ledger;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// 200, after this time.
    Slow(Duration),
    /// Nobody listens, and connections that were open are closed.
    Down,
    /// Reads, and never answers.
    Hanging,
    /// This status.
    Failing(u16),
    /// 429 with `Retry-After: 1`.
    Busy,
    /// Bytes that are no HTTP.
    Garbage,
    /// Closes before the status is out.
    BreakingOff,
    /// Says 200, and closes in the middle of the body: the status is the answer.
    HalfBody,
}

/// Ends with the value.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    task: JoinHandle<()>,
}

impl Backend {
    pub async fn start(ledger: Arc<Ledger>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (mood, told) = watch::channel(Mood::Good);
        let task = tokio::spawn(serve(listener, address, ledger, told));
        Self {
            address,
            mood,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Calls under way are answered in the new mood.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    ledger: Arc<Ledger>,
    mut mood: watch::Receiver<Mood>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *mood.borrow_and_update();
        if now == Mood::Down {
            listener = None;
            connections.shutdown().await;
            drop(mood.changed().await);
            continue;
        }
        if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let Some(open) = &listener else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                while connections.try_join_next().is_some() {}
                connections.spawn(converse(stream, ledger.clone(), mood.clone()));
            },
            changed = mood.changed() => if changed.is_err() { return },
        }
    }
}

/// One connection, until it ends or the mood says so.
async fn converse(mut stream: TcpStream, ledger: Arc<Ledger>, mut mood: watch::Receiver<Mood>) {
    drop(stream.set_nodelay(true));
    let mut read = Vec::new();
    while let Some((message_id, body)) = next_request(&mut stream, &mut read).await {
        let now = *mood.borrow_and_update();
        let (answer, ends) = match now {
            Mood::Good => (ok(), false),
            Mood::Slow(pause) => {
                tokio::time::sleep(pause).await;
                (ok(), false)
            }
            Mood::Down => return,
            Mood::Hanging => {
                ledger.delivered(&body, &message_id, false);
                // Until the other side has had enough.
                drop(stream.read(&mut [0]).await);
                return;
            }
            Mood::Failing(status) => (
                format!("HTTP/1.1 {status} Told So\r\ncontent-length: 0\r\n\r\n"),
                false,
            ),
            Mood::Busy => (
                "HTTP/1.1 429 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n".to_owned(),
                false,
            ),
            Mood::Garbage => ("\0\u{1}this is no HTTP\r\n\r\n".to_owned(), true),
            Mood::BreakingOff => ("HTTP/1.1 2".to_owned(), true),
            Mood::HalfBody => (
                "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf".to_owned(),
                true,
            ),
        };
        ledger.delivered(
            &body,
            &message_id,
            matches!(now, Mood::Good | Mood::Slow(_) | Mood::HalfBody),
        );
        if stream.write_all(answer.as_bytes()).await.is_err() || ends {
            return;
        }
    }
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned()
}

/// The next request's `Message-Id` and body; `None` at the end.
async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        if let Some((request, used)) = parse(read) {
            read.drain(..used);
            return Some(request);
        }
        match stream.read(&mut piece).await {
            Ok(length @ 1..) => read.extend_from_slice(&piece[..length]),
            Ok(0) | Err(_) => return None,
        }
    }
}

fn parse(bytes: &[u8]) -> Option<((String, Vec<u8>), usize)> {
    let head_length = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_length]);
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let length: usize = header("content-length").map_or(0, |text| text.parse().expect("a length"));
    let body = bytes.get(head_length..head_length + length)?;
    let message_id = header("message-id").unwrap_or_default();
    Some(((message_id, body.to_vec()), head_length + length))
}
