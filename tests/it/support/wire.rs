//! AMQP 0-9-1 frame by frame, for messages that no client library would publish.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::broker::address_of;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
const FRAME_MAX: u32 = 131_072;

/// Flags of the basic properties (AMQP 0-9-1, class basic).
pub const CONTENT_TYPE: u16 = 1 << 15;
pub const HEADERS: u16 = 1 << 13;
pub const MESSAGE_ID: u16 = 1 << 7;

/// One confirm-mode channel on a connection of its own.
#[derive(Debug)]
pub struct Wire(TcpStream);

impl Wire {
    pub async fn connect(url: &str) -> Self {
        let uri: lapin::uri::AMQPUri = url.parse().expect("a broker URL");
        let mut wire = Self(TcpStream::connect(address_of(url)).await.expect("connects"));
        wire.0
            .write_all(b"AMQP\0\0\x09\x01")
            .await
            .expect("written");
        wire.expect(10, 10).await;
        let user = &uri.authority.userinfo;
        let response = format!("\0{}\0{}", user.username, user.password);
        let start_ok = [
            &0_u32.to_be_bytes()[..],
            &short(b"PLAIN"),
            &long(response.as_bytes()),
            &short(b"en_US"),
        ];
        wire.method(0, 10, 11, &start_ok.concat()).await;
        wire.expect(10, 30).await;
        let tune_ok = [
            &1_u16.to_be_bytes()[..],
            &FRAME_MAX.to_be_bytes(),
            &0_u16.to_be_bytes(),
        ];
        wire.method(0, 10, 31, &tune_ok.concat()).await;
        let open = [short(uri.vhost.as_bytes()), short(b""), vec![0]];
        wire.method(0, 10, 40, &open.concat()).await;
        wire.expect(10, 41).await;
        wire.method(1, 20, 10, &short(b"")).await;
        wire.expect(20, 11).await;
        wire.method(1, 85, 10, &[0]).await;
        wire.expect(85, 11).await;
        wire
    }

    /// Publishes to `queue`, and waits until the broker has it. `flags` says which properties
    /// `properties` holds, in the order of the specification.
    pub async fn publish(&mut self, queue: &str, flags: u16, properties: &[u8], body: &[u8]) {
        let publish = [
            &0_u16.to_be_bytes()[..],
            &short(b""),
            &short(queue.as_bytes()),
            &[0],
        ];
        self.method(1, 60, 40, &publish.concat()).await;
        let header = [
            &60_u16.to_be_bytes()[..],
            &0_u16.to_be_bytes(),
            &(body.len() as u64).to_be_bytes(),
            &flags.to_be_bytes(),
            properties,
        ];
        self.frame(HEADER, 1, &header.concat()).await;
        self.frame(BODY, 1, body).await;
        self.expect(60, 80).await;
    }

    async fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) {
        let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), arguments];
        self.frame(METHOD, channel, &payload.concat()).await;
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("small");
        assert!(length < FRAME_MAX - 8, "a frame of {length} bytes");
        let frame = [
            &[kind][..],
            &channel.to_be_bytes(),
            &length.to_be_bytes(),
            payload,
            &[FRAME_END],
        ];
        self.0.write_all(&frame.concat()).await.expect("written");
    }

    async fn expect(&mut self, class: u16, method: u16) {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; length as usize + 1];
        self.0.read_exact(&mut payload).await.expect("a frame");
        let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
        let shown = String::from_utf8_lossy(&payload);
        assert!(
            head[0] == METHOD && payload.starts_with(&wanted),
            "{class}.{method}, not {shown}"
        );
    }
}

/// A short string, whatever bytes it holds.
pub fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("255 bytes at most");
    [&[length][..], bytes].concat()
}

pub fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("small");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A headers table with one entry, its value in wire form with its type.
pub fn table(name: &[u8], value: &[u8]) -> Vec<u8> {
    long(&[short(name), value.to_vec()].concat())
}

/// An array in an array in an array…
pub fn nested(depth: usize) -> Vec<u8> {
    let mut value = vec![b'V'];
    for _ in 0..depth {
        value = [vec![b'A'], long(&value)].concat();
    }
    value
}
