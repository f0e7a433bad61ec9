//! The least that a correct program for a flow has to do: no routes, no retries, no recovery, no
//! metrics. What the bridge costs beside it is the price of everything else.
//!
//! Correct means: success only for a persistent message that the broker has confirmed and not
//! returned, and an acknowledgement only for what has been dealt with.

pub(crate) mod accept;
pub(crate) mod consume;
pub(crate) mod deliver;
pub(crate) mod http;
pub(crate) mod lanes;
pub(crate) mod naive;
pub(crate) mod publish;
pub(crate) mod rpc;
mod server;
