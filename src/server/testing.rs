//! A plain HTTP/1 client on a socket, for tests: what it sends is exactly what the test says.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::config::{
    Config,
    model::{Admin, Amqp, Http, Log, LogFormat, QueueType, Store, TopologyMode},
};

/// Longer than anything a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A listener on a free loopback port.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer; `None` when the connection has ended instead.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse::<usize>().unwrap());
        while self.read.len() < length {
            assert!(self.more().await, "the body broke off");
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Some(Answer { status, head, body })
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// Whether the server closes the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    /// Throws away what was read.
    pub(crate) fn forget(&mut self) {
        self.read.clear();
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut chunk))
            .await
            .expect("the server neither answers nor closes");
        let count = read.unwrap_or(0);
        self.read.extend_from_slice(&chunk[..count]);
        count > 0
    }
}

impl Answer {
    pub(crate) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|known| known == line)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

/// A configuration without routes.
pub(crate) fn config() -> Config {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        amqp: Amqp {
            urls: Vec::new(),
            ca_file: None,
            identity: None,
            topology: TopologyMode::None,
            queue_type: QueueType::Quorum,
            lanes: 1,
            window: 1,
            in_flight: 100,
            heartbeat: PATIENCE,
            connect_timeout: PATIENCE,
            reconnect_max: PATIENCE,
            instance: "test".to_owned(),
            reply_queue_expires: PATIENCE,
        },
        http: Http {
            listen,
            body_limit: 1000,
            connections: 100,
            header_timeout: PATIENCE,
            body_timeout: PATIENCE,
        },
        admin: Admin { listen },
        log: Log {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        },
        store: Store {
            path: "data".into(),
        },
        buffer_limit: 1 << 20,
        drain_timeout: PATIENCE,
        exchanges: BTreeMap::new(),
        queues: BTreeMap::new(),
        routes: Vec::new(),
    }
}
