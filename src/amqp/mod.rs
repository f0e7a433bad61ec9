//! The broker: two supervised connections, confirmed publishing, consuming, replies.

mod broker;
mod channels;
mod connect;
pub mod consumer;
mod consuming;
mod error;
mod link;
pub mod parked;
pub mod publisher;
mod publishing;
pub mod replies;
mod reply_desk;
mod status;
#[cfg(test)]
pub(crate) mod testing;
mod topology;
mod wash;

pub use broker::{Broker, Stages};
pub use connect::probe;
pub use consumer::{Delivery, Settle};
pub use error::Error;
pub use publisher::{Gate, Outcome, Publisher};
pub use replies::{Replies, Waiter};
pub use status::{NotReady, Status, Trouble};
