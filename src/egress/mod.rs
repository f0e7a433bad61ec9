//! Deliver: messages from queues to HTTP backends.
//!
//! A [`Forwarder`] runs one route. Each delivery is a task: `call` builds the request, `client`
//! makes it, `outcome` decides what becomes of the message, and only then is it settled. A message
//! leaves its queue after success, or after a confirmed publish of its copy (`copy`) to where it
//! waits or is parked.

mod answer;
mod call;
mod client;
mod copy;
mod delivered;
mod forwarder;
mod gate;
mod outcome;
mod settle;
mod turn;

pub use client::{CallError, Client, ClientError};
pub use forwarder::Forwarder;
pub use gate::CircuitView;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
