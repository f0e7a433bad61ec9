//! The stream from the broker, washed frame by frame.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};

use super::frame;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// Kinds above are none (AMQP 0-9-1, 4.2.3).
const HEARTBEAT: u8 = 8;
/// Kind, channel and size.
const HEAD: usize = 7;
const READ: usize = 32 * 1024;
/// No larger frame than this is held back: the size negotiated is an eighth of it.
const WHOLE_LIMIT: usize = 1 << 20;

/// A stream whose reading side is washed; the writing side passes through.
pub(in crate::amqp) struct Washed<S> {
    inner: S,
    washer: Washer,
    scratch: Vec<u8>,
    ended: bool,
}

/// Takes bytes in any pieces, gives them back washed and in order.
#[derive(Default)]
pub(super) struct Washer {
    /// A frame that is not complete yet.
    held: BytesMut,
    washed: BytesMut,
    /// Bytes of the frame that has begun, and that pass as they are.
    passing: usize,
    /// What comes is not AMQP; it passes as it is.
    foreign: bool,
}

// === impl Washer ===

impl Washer {
    pub(super) fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.foreign {
                self.washed.extend_from_slice(piece);
                return;
            }
            let passing = self.passing.min(piece.len());
            if passing > 0 {
                let (now, later) = piece.split_at(passing);
                self.washed.extend_from_slice(now);
                self.passing -= passing;
                piece = later;
                continue;
            }
            let wanted = self.wanted().saturating_sub(self.held.len());
            let (now, later) = piece.split_at(wanted.min(piece.len()));
            self.held.extend_from_slice(now);
            piece = later;
            self.advance();
        }
    }

    /// How long the held part must be before anything can be decided.
    fn wanted(&self) -> usize {
        match self.head() {
            None => HEAD,
            Some((_, size)) => HEAD + size + 1,
        }
    }

    fn head(&self) -> Option<(u8, usize)> {
        let head: &[u8; HEAD] = self.held.first_chunk()?;
        let [kind, _, _, size @ ..] = *head;
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        Some((kind, size))
    }

    fn advance(&mut self) {
        let Some((kind, size)) = self.head() else {
            return;
        };
        if kind == 0 || kind > HEARTBEAT {
            self.foreign = true;
        } else if !matches!(kind, METHOD | HEADER) || size > WHOLE_LIMIT {
            self.passing = size.saturating_add(1);
        } else if self.held.len() < HEAD + size + 1 {
            return;
        } else if let Some(payload) = self.held.get_mut(HEAD..HEAD + size) {
            let washed = match kind {
                METHOD => frame::method(payload),
                _ => frame::header(payload),
            };
            if washed.unwrap_or(false) {
                tracing::debug!("message with text that is not UTF-8, or too deep: parts replaced");
            }
        }
        self.washed.unsplit(self.held.split());
    }

    /// Gives washed bytes; 0 where there are none.
    pub(super) fn give(&mut self, into: &mut [u8]) -> usize {
        let length = into.len().min(self.washed.len());
        if let Some(into) = into.get_mut(..length) {
            self.washed.copy_to_slice(into);
        }
        length
    }

    /// The stream has ended: what is held back will never be complete.
    pub(super) fn end(&mut self) {
        self.washed.unsplit(self.held.split());
    }
}

// === impl Washed ===

impl<S> Washed<S> {
    pub(in crate::amqp) fn new(inner: S) -> Self {
        Self {
            inner,
            washer: Washer::default(),
            scratch: vec![0; READ],
            ended: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Washed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let given = this.washer.give(into);
            if given > 0 || this.ended || into.is_empty() {
                return Poll::Ready(Ok(given));
            }
            let read = ready!(Pin::new(&mut this.inner).poll_read(context, &mut this.scratch))?;
            match this.scratch.get(..read) {
                Some(piece) if read > 0 => this.washer.take(piece),
                _ => {
                    this.ended = true;
                    this.washer.end();
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Washed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, pieces)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(context)
    }
}
