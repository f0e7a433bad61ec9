//! Why a queue could not be looked at, or not to its end.

use crate::amqp::Error;

/// What stopped the work on one queue. What was done before it is done.
#[derive(Debug, thiserror::Error)]
pub enum ParkedError {
    #[error("queue `{0}` does not exist")]
    NoQueue(String),
    #[error("queue `{0}` is exclusive to another connection")]
    Exclusive(String),
    #[error(
        "queue `{0}` is a stream: nothing is ever taken off it, so there is nothing to replay or discard"
    )]
    Stream(String),
    #[error(
        "queue `{0}` has a delivery limit of 0: the broker drops each message that is looked at and given back"
    )]
    NoLook(String),
    #[error(
        "the broker has {ready} messages in queue `{queue}` and delivers none of them here: another consumer has them, as its only active one or by taking them first; stop it meanwhile"
    )]
    Stalled { queue: String, ready: u32 },
    /// Nothing more can be published now.
    #[error("publishing failed ({0}); every message without a confirmed copy stays in its queue")]
    Publish(&'static str),
    #[error(
        "more messages of queue `{0}` could not be replayed than are remembered; run it again once the cause is mended"
    )]
    Failures(String),
    #[error("as many looks at queues are under way as are allowed")]
    Busy,
    #[error(transparent)]
    Broker(#[from] Error),
}

impl From<lapin::Error> for ParkedError {
    fn from(error: lapin::Error) -> Self {
        Self::Broker(error.into())
    }
}
