//! What the broker sends, made fit for the client library.
//!
//! A broker passes on whatever a publisher wrote. The library ends the connection over a short
//! string that is not UTF-8, and overflows its stack over tables nested a few thousand deep; the
//! message would be delivered again to the next connection, and nothing else ever again. So the
//! bytes are looked through on their way in: such a string has its foreign bytes replaced by `?`,
//! and what is nested too deep becomes a byte array of the same length.

mod frame;
mod kit;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use kit::{WashingRuntime, runtime};
pub(super) use stream::Washed;
