//! Decisions without input, output or a clock of their own.

mod backoff;
mod schedule;
mod status;

pub use backoff::Backoff;
pub use schedule::Schedule;
pub use status::StatusSet;
