//! A TCP proxy that breaks what passes through it, on command.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What becomes of the bytes, by direction; `up` is from the client to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    pub stall_up: bool,
    pub stall_down: bool,
    /// Connections are closed as soon as they are accepted.
    pub refuse: bool,
    /// Pause after each piece of at most 1 KiB.
    pub pause: Duration,
    /// Raised to break every connection there is.
    cuts: u64,
    /// Raised to end the stream towards the client, and only that.
    half_closes: u64,
}

/// Ends with the value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    accept: JoinHandle<()>,
}

impl Proxy {
    /// Forwards to `target`, a `HOST:PORT`.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (weather, seen) = watch::channel(Weather::default());
        let target = target.to_owned();
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if seen.borrow().refuse {
                    continue;
                }
                tokio::spawn(connect(client, target.clone(), seen.clone()));
            }
        });
        Self {
            address,
            weather,
            accept,
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn set(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }

    /// Breaks every connection there is; new ones are let through.
    pub fn cut(&self) {
        self.set(|weather| weather.cuts += 1);
    }

    /// Nothing passes, in either direction, and no connection breaks.
    pub fn stall(&self) {
        self.set(|weather| {
            weather.stall_up = true;
            weather.stall_down = true;
        });
    }

    /// Ends the server's side of every connection as seen by the client; the other half stays.
    pub fn half_close(&self) {
        self.set(|weather| weather.half_closes += 1);
    }

    /// Fair weather again; what was held back passes now.
    pub fn resume(&self) {
        self.set(|weather| {
            *weather = Weather {
                cuts: weather.cuts,
                half_closes: weather.half_closes,
                ..Weather::default()
            };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
        self.cut();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

async fn connect(client: TcpStream, target: String, mut weather: watch::Receiver<Weather>) {
    let cuts = weather.borrow_and_update().cuts;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let up = pump(Way::Up, client_read, server_write, weather.clone());
    let down = pump(Way::Down, server_read, client_write, weather.clone());
    let both = async { tokio::join!(up, down) };
    let cut = weather.wait_for(|weather| weather.cuts != cuts);
    tokio::select! {
        // What was held back must not slip through when a cut and fair weather come together.
        biased;
        _ = cut => {}
        _ = both => {}
    }
}

/// One direction, until its end.
async fn pump(
    way: Way,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    let half_closes = weather.borrow().half_closes;
    let mut piece = vec![0; 64 * 1024];
    loop {
        let size = if weather.borrow().pause.is_zero() {
            piece.len()
        } else {
            1024
        };
        let read = tokio::select! {
            read = from.read(&mut piece[..size]) => read,
            closed = weather.wait_for(|weather| way == Way::Down && weather.half_closes != half_closes) => {
                drop(closed);
                break;
            }
        };
        let Ok(length @ 1..) = read else { break };
        let fair = weather.wait_for(|weather| match way {
            Way::Up => !weather.stall_up,
            Way::Down => !weather.stall_down,
        });
        let Ok(pause) = fair.await.map(|weather| weather.pause) else {
            return;
        };
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
    drop(to.shutdown().await);
    if way == Way::Down {
        // A half-open connection stays so until the client ends it.
        std::future::pending::<()>().await;
    }
}
