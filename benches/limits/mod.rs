//! The least that a correct program for a flow has to do: no routes, no retries, no recovery, no
//! metrics. What the bridge costs beside it is the price of everything else.

pub(crate) mod accept;
pub(crate) mod deliver;
