//! A route's spool: messages that wait in line until the broker takes them, and those that were
//! set apart from the line.

mod apart;
mod line;
mod tables;

use std::time::SystemTime;

pub use apart::Apart;
pub use line::Spool;
pub(super) use tables::{TABLES, Tables, Totals, totals};

use crate::message::Publish;

/// A message in line.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Unique in its route for ever; later messages have higher keys.
    pub key: u64,
    pub stored_at: SystemTime,
    pub publish: Publish,
}

/// What a route has in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Messages in line.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When the first in line was stored.
    pub oldest: Option<SystemTime>,
    /// Messages set apart.
    pub apart: u64,
    /// Bytes of their records.
    pub apart_bytes: u64,
}
