//! What a connection is doing, seen from outside the HTTP library.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

/// Bytes that must have been written between two looks for a connection to count as busy; fewer
/// are keep-alive frames, or a client that hardly reads.
const PROGRESS: u64 = 1024;

/// Counts of one connection; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests whose head was complete.
    begun: AtomicU64,
    /// Requests that are not answered yet.
    open: AtomicUsize,
    written: AtomicU64,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Open {
    activity: Activity,
    cuts: Arc<Cuts>,
    answered: bool,
}

/// Counts the requests that an abort has cut off.
#[derive(Debug)]
pub(super) struct Cuts {
    pub(super) abort: CancellationToken,
    pub(super) count: AtomicUsize,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    begun: u64,
    written: u64,
}

/// A stream that counts what is written to it.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    activity: Activity,
}

// === impl Activity ===

impl Activity {
    /// A request's head is complete.
    pub(super) fn begin(&self, cuts: &Arc<Cuts>) -> Open {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Open {
            activity: self.clone(),
            cuts: cuts.clone(),
            answered: false,
        }
    }

    /// Whether no request has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed) == 0
    }

    /// Whether nothing has happened since `seen`, which is brought up to date.
    pub(super) fn is_idle_since(&self, seen: &mut Seen) -> bool {
        let begun = self.0.begun.load(Ordering::Relaxed);
        let written = self.0.written.load(Ordering::Relaxed);
        let idle = self.0.open.load(Ordering::Relaxed) == 0
            && begun == seen.begun
            && written.saturating_sub(seen.written) < PROGRESS;
        *seen = Seen { begun, written };
        idle
    }

    pub(super) fn count(&self, stream: TcpStream) -> Counted {
        Counted {
            stream,
            activity: self.clone(),
        }
    }
}

impl Open {
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.activity.0.open.fetch_sub(1, Ordering::Relaxed);
        if !self.answered && self.cuts.abort.is_cancelled() {
            self.cuts.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// === impl Counted ===

impl Counted {
    fn wrote(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.activity.0.written.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
