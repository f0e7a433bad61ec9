//! The first answers to calls that may be repeated, by the calls' keys.
//!
//! A key is `begun` before its message is published and `answered` with the first answer that is
//! final. A begun key whose call has ended without one holds the message id under which a repeat
//! is published again.

mod handle;
mod record;
mod sweep;
mod tables;
mod tally;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use lapin::types::ShortString;

pub use self::handle::Answers;
pub(super) use self::{
    tables::{TABLES, Tables, kept},
    tally::{Tallies, Tally},
};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// A call that is about to be carried out.
#[derive(Debug, Clone)]
pub struct Begin {
    pub key: Digest,
    /// What the call asks for.
    pub fingerprint: Digest,
    /// Under which its message is published, if it is the first.
    pub message_id: ShortString,
    pub now: SystemTime,
    /// How long the key is kept, from the first call on.
    pub ttl: Duration,
}

/// What is known of a call's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing; from now on it is begun.
    First,
    /// It is begun and has no answer. Its message may have been published under this id.
    Unanswered(ShortString),
    Answered(Answer),
    /// It belongs to a call that asked for something else.
    Conflict,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a route's keys and answers come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    pub keys: u64,
    pub bytes: u64,
}
