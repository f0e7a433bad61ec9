//! Takes replies from their queue and hands each to its waiter, or to the process that has it.

use std::time::Duration;

use lapin::types::ShortString;
use tokio::sync::mpsc;

use super::{Delivery, Outcome, Publisher, Replies, replies::Matched};
use crate::{
    config::names,
    message::{Message, Publish},
    telemetry::Metrics,
};

const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct ReplyDesk {
    pub replies: Replies,
    pub publisher: Publisher,
    pub metrics: Metrics,
}

impl ReplyDesk {
    /// Until the queue's consumer ends.
    pub(super) async fn run(self, mut deliveries: mpsc::Receiver<Delivery>) {
        while let Some(Delivery {
            message, settle, ..
        }) = deliveries.recv().await
        {
            match self
                .replies
                .dispatch(message, &self.metrics.replies_unknown)
            {
                Matched::Here => settle.ack(),
                Matched::Elsewhere(instance, message) => {
                    if self.hand_over(&instance, *message).await {
                        settle.ack();
                    } else {
                        settle.requeue();
                    }
                }
            }
        }
    }

    /// Whether this process is done with the reply: it is in the other's queue, or that process
    /// has gone and its queue with it.
    async fn hand_over(&self, instance: &str, message: Message) -> bool {
        let Ok(routing_key) = ShortString::try_new(names::reply_queue(instance)) else {
            self.metrics.replies_unknown.inc();
            return true;
        };
        let publish = Publish {
            exchange: ShortString::default(),
            routing_key,
            properties: message.properties,
            body: message.body,
        };
        match self.publisher.publish(publish, HAND_OVER_LIMIT).await {
            Outcome::Routed => {
                self.metrics.replies_handed_over.inc();
                true
            }
            Outcome::Unroutable | Outcome::TooLarge | Outcome::Refused(_) => {
                self.metrics.replies_unknown.inc();
                true
            }
            Outcome::Nacked
            | Outcome::Unknown
            | Outcome::Unavailable
            | Outcome::Blocked
            | Outcome::Overloaded => {
                // Give the broker a moment, so that giving the reply back makes no hot loop.
                tokio::time::sleep(Duration::from_millis(200)).await;
                false
            }
        }
    }
}
