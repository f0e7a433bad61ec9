//! The broker: two supervised connections, confirmed publishing, consuming, replies.

pub mod consumer;
pub mod publisher;
pub mod replies;

pub use consumer::{Delivery, Settle};
pub use publisher::{Outcome, Publish, Publisher};
pub use replies::{Replies, Waiter};
