//! The faults.

mod backend;
mod bridge;
mod broker;
mod clients;
mod cluster;
mod disk;
mod network;
mod topology;

use std::{pin::Pin, time::Duration};

use crate::{
    arena::Stage,
    backend::Mood,
    tally::{Repeats, Tally},
};

/// A round under way.
pub type Playing = Pin<Box<dyn Future<Output = Tally>>>;

/// How long a round takes: how often it is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Quick,
    Slow,
}

/// One fault.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    pub pace: Pace,
    /// Part of what `cargo test` plays.
    pub short: bool,
    pub repeats: Repeats,
    /// Why it is not played here, if so.
    pub skip: fn(&Stage) -> Option<String>,
    pub play: fn(Stage) -> Playing,
}

/// In the order of the table.
pub static ALL: &[Row] = &[
    Row {
        name: "broker-restart",
        what: "the broker is stopped and started again",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(broker::restart(stage)),
    },
    Row {
        name: "broker-kill",
        what: "the broker is killed (SIGKILL) and started again; classic queues",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(broker::kill(stage)),
    },
    Row {
        name: "broker-restart-spool",
        what: "the broker is stopped and started again; the accept route has a spool, so that none is refused",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(broker::restart_spooled(stage)),
    },
    Row {
        name: "memory-alarm",
        what: "the broker raises its memory alarm and takes it back",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(broker::memory_alarm(stage)),
    },
    Row {
        name: "queue-full",
        what: "the queue is full and rejects publishes",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(broker::queue_full(stage)),
    },
    Row {
        name: "exchange-deleted",
        what: "the exchange is deleted under traffic, three times",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(topology::exchange_deleted(stage)),
    },
    Row {
        name: "queue-deleted",
        what: "the queue is deleted under its consumer, three times",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(topology::queue_deleted(stage)),
    },
    Row {
        name: "queue-replaced",
        what: "the consumer is cancelled, and its queue replaced by another of the same name",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(topology::queue_replaced(stage)),
    },
    Row {
        name: "ack-timeout",
        what: "the broker closes the channel of deliveries that are held too long",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(topology::ack_timeout(stage)),
    },
    Row {
        name: "tcp-cut",
        what: "every connection to the broker breaks, three times",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(network::cut(stage)),
    },
    Row {
        name: "tcp-stall",
        what: "nothing passes to or from the broker for longer than two heartbeats",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(network::stall(stage)),
    },
    Row {
        name: "tcp-half-close",
        what: "the broker's side of every connection ends, three times",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(network::half_close(stage)),
    },
    Row {
        name: "tcp-trickle",
        what: "1 KiB at a time passes to and from the broker, with pauses",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(network::trickle(stage)),
    },
    Row {
        name: "cluster-leader",
        what: "a cluster of three loses the node that leads the queue, and gets it back",
        pace: Pace::Slow,
        short: false,
        repeats: Repeats::May,
        skip: cluster::no_namespaces,
        play: |stage| Box::pin(cluster::leader_lost(stage)),
    },
    Row {
        name: "cluster-partition",
        what: "the node that leads the queue is cut off from the other two, and the partition heals",
        pace: Pace::Slow,
        short: false,
        repeats: Repeats::May,
        skip: cluster::no_namespaces,
        play: |stage| Box::pin(cluster::partition(stage)),
    },
    Row {
        name: "bridge-kill",
        what: "the bridge is killed (SIGKILL) while all flows run, three times",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(bridge::kill(stage)),
    },
    Row {
        name: "bridge-kill-retry",
        what: "the bridge is killed while it publishes to its retry queues, twice",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(bridge::kill_retrying(stage)),
    },
    Row {
        name: "bridge-kill-keys",
        what: "the bridge is killed three times, and callers repeat what was not answered under their idempotency keys",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(bridge::kill_with_keys(stage)),
    },
    Row {
        name: "bridge-kill-spooling",
        what: "the bridge is killed while it writes to its spool, and starts without a broker",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(bridge::kill_spooling(stage)),
    },
    Row {
        name: "bridge-kill-draining",
        what: "the bridge is killed while it empties its spool",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(bridge::kill_draining(stage)),
    },
    Row {
        name: "bridge-terminate",
        what: "the bridge gets SIGTERM under load, and is started again, twice",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(bridge::terminate(stage)),
    },
    Row {
        name: "disk-full",
        what: "the store's disk is full while the broker is away, and has room again",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: disk::no_mounts,
        play: |stage| Box::pin(disk::full(stage)),
    },
    Row {
        name: "backend-down",
        what: "nobody listens at the backend's address",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(backend::moody(stage, Mood::Down)),
    },
    Row {
        name: "backend-hanging",
        what: "the backend takes requests and answers none",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(backend::moody(stage, Mood::Hanging)),
    },
    Row {
        name: "backend-500",
        what: "the backend answers 500",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(backend::moody(stage, Mood::Failing(500))),
    },
    Row {
        name: "backend-garbage",
        what: "the backend answers bytes that are no HTTP",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(backend::moody(stage, Mood::Garbage)),
    },
    Row {
        name: "backend-breaks-off",
        what: "the backend closes before its status is out",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(backend::moody(stage, Mood::BreakingOff)),
    },
    Row {
        name: "backend-half-body",
        what: "the backend answers 200 and closes in the middle of the body: the status counts",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(backend::moody(stage, Mood::HalfBody)),
    },
    Row {
        name: "backend-429",
        what: "the backend answers 429 with Retry-After",
        pace: Pace::Quick,
        short: false,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(backend::moody(stage, Mood::Busy)),
    },
    Row {
        name: "clients-leave",
        what: "120 clients go away at every stage of their calls, beside others that stay",
        pace: Pace::Quick,
        short: true,
        repeats: Repeats::Never,
        skip: |_| None,
        play: |stage| Box::pin(clients::leave(stage)),
    },
    Row {
        name: "clients-held",
        what: "10,000 clients wait for their replies while the broker restarts; half of the replies come",
        pace: Pace::Slow,
        short: false,
        repeats: Repeats::May,
        skip: |_| None,
        play: |stage| Box::pin(clients::held(stage)),
    },
];

/// A time up to `most_ms` milliseconds, so that a fault does not always meet the same moment.
async fn a_while(stage: &Stage, most_ms: u64) {
    let time = stage.chance().u64(..most_ms);
    tokio::time::sleep(Duration::from_millis(time)).await;
}
