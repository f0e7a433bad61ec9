//! The client library's view of the runtime: tokio's, with streams that are washed.

#![allow(clippy::disallowed_types, reason = "the library's trait names it")]

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use async_rs::{Runtime, TokioRuntime, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::AsyncTcpStream;

use super::Washed;

pub(in crate::amqp) type WashingRuntime = Runtime<RuntimeParts<TokioRuntime, Washing>>;

/// Tokio's reactor with another type of stream: the library takes the one that its runtime names.
#[derive(Debug, Clone)]
pub(in crate::amqp) struct Washing(TokioRuntime);

pub(in crate::amqp) fn runtime(tokio: &TokioRuntime) -> WashingRuntime {
    Runtime::new(RuntimeParts::new(tokio.clone(), Washing(tokio.clone())))
}

impl Reactor for Washing {
    type TcpStream = Washed<AsyncTcpStream<<TokioRuntime as Reactor>::TcpStream>>;
    type Sleep = <TokioRuntime as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Washed::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}
