//! Copies on their way: each is confirmed before its message is taken off the queue.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::{Facts, scan::Taken};
use crate::{
    amqp::{Outcome, Publisher},
    message::Publish,
};

const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

/// What a copy is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// To where its message is wanted.
    Replay { facts: Box<Facts>, to: String },
    /// Back to its own queue, with a fresh delivery count.
    Renew { seen: bool },
}

/// A copy whose outcome is known.
#[derive(Debug)]
pub(super) struct Moved {
    pub taken: Taken,
    pub purpose: Purpose,
    pub outcome: Outcome,
}

/// Publishes under way, written in the order in which they were started.
pub(super) struct Moves<'a> {
    publisher: &'a Publisher,
    under_way: FuturesUnordered<BoxFuture<'a, Moved>>,
}

impl<'a> Moves<'a> {
    pub(super) fn new(publisher: &'a Publisher) -> Self {
        let under_way = FuturesUnordered::new();
        Self {
            publisher,
            under_way,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn start(&mut self, taken: Taken, purpose: Purpose, publish: Publish) {
        let publisher = self.publisher;
        let mut publishing = async move {
            let outcome = publisher.publish(publish, CONFIRM_LIMIT).await;
            Moved {
                taken,
                purpose,
                outcome,
            }
        }
        .boxed();
        // The first poll hands it to the lane, so that starting in order is writing in order.
        let waker = futures_util::task::noop_waker();
        let mut context = std::task::Context::from_waker(&waker);
        let publishing = match publishing.poll_unpin(&mut context) {
            std::task::Poll::Ready(moved) => std::future::ready(moved).boxed(),
            std::task::Poll::Pending => publishing,
        };
        self.under_way.push(publishing);
    }

    /// One whose outcome is known already.
    pub(super) fn ready(&mut self) -> Option<Moved> {
        self.under_way.next().now_or_never()?
    }

    /// The next whose outcome becomes known; `None` when none is under way.
    pub(super) async fn next(&mut self) -> Option<Moved> {
        self.under_way.next().await
    }
}
