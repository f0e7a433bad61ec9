//! Decisions without input, output or a clock of their own.

mod backoff;
pub mod circuit;
pub mod patience;
mod rate;
mod schedule;
mod status;

pub use backoff::Backoff;
pub use circuit::Circuit;
pub use rate::Bucket;
pub use schedule::Schedule;
pub use status::StatusSet;
