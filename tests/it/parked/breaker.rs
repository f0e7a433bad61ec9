//! A proxy that knows frames: it breaks a connection to the broker at the method that a test names.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::JoinHandle,
};

use crate::support::broker::{address_of, with_address};

/// Class and method, as AMQP 0-9-1 numbers them.
pub(super) const ACK: [u8; 4] = [0, 60, 0, 80];
pub(super) const CANCEL: [u8; 4] = [0, 60, 0, 30];
pub(super) const PUBLISH: [u8; 4] = [0, 60, 0, 40];

/// Ends with the value.
pub(super) struct Breaker {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl Breaker {
    /// Before the broker at `url`. The client's frame with `method` does not come through, and
    /// nothing after it.
    pub(super) async fn start(url: &str, method: [u8; 4]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let broker = address_of(url);
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&broker).await.expect("the broker");
                tokio::spawn(forward(client, server, method));
            }
        });
        Self { address, accept }
    }

    /// The broker's URL by this way.
    pub(super) fn url(&self, url: &str) -> String {
        with_address(url, &self.address.to_string())
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn forward(client: TcpStream, server: TcpStream, method: [u8; 4]) {
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        // The protocol header, then frames: type, channel, size, payload, end (AMQP 0-9-1 §2.3.5).
        let mut header = [0; 8];
        from_client.read_exact(&mut header).await?;
        to_server.write_all(&header).await?;
        loop {
            let frame = frame(&mut from_client).await?;
            if frame[0] == 1 && frame[7..].starts_with(&method) {
                return Ok::<_, std::io::Error>(());
            }
            to_server.write_all(&frame).await?;
        }
    };
    // When either ends, both connections are dropped.
    tokio::select! {
        _ = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 7];
    from.read_exact(&mut head).await?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let mut frame = head.to_vec();
    frame.resize(head.len() + size + 1, 0);
    from.read_exact(&mut frame[head.len()..]).await?;
    Ok(frame)
}
