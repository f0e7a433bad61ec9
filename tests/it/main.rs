//! What Hareway promises, shown on a real RabbitMQ: one file per behaviour.
//!
//! `AMQP_URL` names the broker that the tests share; without it one is started for the run. Tests
//! that harm their broker start a node of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its tasks end with its runtime"
)]
#![allow(
    clippy::too_many_lines,
    reason = "a test is one story, and its configuration is part of it"
)]
#![allow(
    unreachable_pub,
    reason = "nothing outside this binary can reach it anyway"
)]

mod accept;
mod attribution;
mod broker_sessions;
mod circuit;
mod deliver;
mod durability;
mod harness;
mod hostile;
mod idempotency;
mod inside;
mod interop;
mod limits;
mod ordered;
mod parked;
mod poison;
mod request_reply;
mod settling;
mod shutdown;
mod spool;
#[allow(dead_code, reason = "the fault matrix uses the rest of it")]
mod support;
