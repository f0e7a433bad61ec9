//! Parked messages as a tool: seen, replayed and discarded, in any queue.
//!
//! Looking must not harm. A message that was looked at is given back, which most queues forget,
//! but a quorum queue counts, and drops or dead-letters what has come to its delivery limit. So
//! what has been given back often is put back as a confirmed copy, with a fresh count.

mod destination;
pub mod document;
mod error;
mod facts;
mod filter;
mod look;
mod moves;
mod pace;
mod round;
mod scan;
mod silence;
#[cfg(test)]
mod tests;
mod tool;
mod tried;
mod walk;

pub use destination::{Destination, NoWay, Way};
pub use error::ParkedError;
pub use facts::{Facts, Origin};
pub use filter::Filter;
pub use look::Looked;
pub use pace::{InvalidPace, Pace};
pub use tool::Tool;
pub use walk::{Deed, Holding, Job, Report, Reporter, Tally};
