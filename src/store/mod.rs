//! What outlives a restart: the spools of accept routes, and the first answers to calls that may be
//! repeated, in one file.
//!
//! The file is a redb database, and this folder is the only one that knows it. One thread owns the
//! database: it takes commands from a bounded queue, does all that are there in one transaction,
//! and answers them once that is committed and synced.

mod answers;
mod command;
mod commit;
mod engine;
mod error;
mod file;
mod gate;
mod handle;
mod record;
mod reserve;
mod spool;
mod state;
mod tables;
#[cfg(test)]
mod tests;

pub use answers::{Answer, Answers, Begin, Begun, Digest, Kept};
pub use error::{Refused, StoreError, is_caught};
pub use handle::Store;
pub use spool::{Apart, Entry, Spool, Usage};
