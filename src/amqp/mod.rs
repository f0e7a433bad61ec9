//! The broker: two supervised connections, confirmed publishing, consuming, replies.

mod channels;
mod connect;
pub mod consumer;
mod error;
pub mod publisher;
pub mod replies;
mod status;
mod topology;

pub use consumer::{Delivery, Settle};
pub use error::Error;
pub use publisher::{Outcome, Publish, Publisher};
pub use replies::{Replies, Waiter};
pub use status::{NotReady, Status};
