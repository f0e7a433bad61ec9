//! Publishing in order: a batch that one lane writes as it is.
//!
//! Lanes publish side by side, so the order in which messages are handed over says nothing about
//! the order in which they reach a queue. A batch is one unit of the queue of requests: one lane
//! takes all of it and writes it contiguously on its one channel, and the broker keeps the order of
//! a channel (AMQP 0-9-1 §4.7).

use std::time::Duration;

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{Outcome, Publish, Publisher, Request, Unit};

impl Publisher {
    /// Publishes `batch` in its order, and waits at most `timeout` for the outcomes: one for each
    /// message, in the same order.
    ///
    /// Each message counts against the limit of publishes under way. Where less than the whole
    /// batch is free, the beginning that fits is published and the rest is
    /// [`Outcome::Overloaded`]: neither does a batch pass the limit, nor must it wait for the day
    /// when all of it fits.
    ///
    /// A message that the broker takes after it has refused one before it ([`Outcome::Nacked`]) is
    /// ahead of that one; only a batch of one excludes it.
    ///
    /// Dropping the future does not take back what has begun.
    pub async fn publish_in_order(&self, batch: Vec<Publish>, timeout: Duration) -> Vec<Outcome> {
        if let Some(closed) = self.closed() {
            return vec![closed; batch.len()];
        }
        let deadline = Instant::now() + timeout;
        let count = batch.len();
        let mut permits = self.permits(count);
        let mut requests = Vec::with_capacity(count);
        let mut answers = Vec::with_capacity(count);
        for publish in batch {
            let Some(permit) = permits.as_mut().and_then(|permits| permits.split(1)) else {
                break;
            };
            let (request, answer) = Request::new(publish, deadline, permit);
            requests.push(request);
            answers.push(answer);
        }
        let mut outcomes = Vec::with_capacity(count);
        if !requests.is_empty() && self.queue.try_send(Unit::Ordered(requests)).is_err() {
            outcomes.resize(answers.len(), Outcome::Unavailable);
            answers.clear();
        }
        for answer in answers {
            outcomes.push(match timeout_at(deadline, answer).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            });
        }
        outcomes.resize(count, Outcome::Overloaded);
        outcomes
    }

    /// As many of `wanted` permits as are free.
    fn permits(&self, wanted: usize) -> Option<OwnedSemaphorePermit> {
        loop {
            let free = self.in_flight.available_permits().min(wanted);
            if free == 0 {
                return None;
            }
            // Others may have taken some between the look and the grip.
            let count = u32::try_from(free).unwrap_or(u32::MAX);
            if let Ok(permits) = self.in_flight.clone().try_acquire_many_owned(count) {
                return Some(permits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lapin::{BasicProperties, types::ShortString};

    use super::*;
    use crate::amqp::{
        publisher::Gate,
        testing::{Broker, broker},
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    fn batch(keys: &[&str]) -> Vec<Publish> {
        let publish = |key: &&str| Publish {
            exchange: ShortString::default(),
            routing_key: (*key).into(),
            properties: BasicProperties::default(),
            body: Bytes::new(),
        };
        keys.iter().map(publish).collect()
    }

    /// Takes what is published, and answers each by its routing key.
    async fn answer(broker: &mut Broker, count: usize, outcome: fn(&str) -> Outcome) -> String {
        let mut seen = String::new();
        for _ in 0..count {
            let taken = broker.take().await;
            let key = taken.publish().routing_key.to_string();
            taken.end(outcome(&key));
            seen.push_str(&key);
        }
        seen
    }

    #[tokio::test]
    async fn each_message_has_the_outcome_of_its_place() {
        let (publisher, mut broker) = broker(8);
        let publishing = publisher.publish_in_order(batch(&["a", "b", "c", "d"]), PATIENCE);
        let answering = answer(&mut broker, 4, |key| match key {
            "b" => Outcome::Nacked,
            "c" => Outcome::Unroutable,
            _ => Outcome::Routed,
        });
        let (outcomes, seen) = tokio::join!(publishing, answering);
        assert_eq!(seen, "abcd");
        use Outcome::{Nacked, Routed, Unroutable};
        assert_eq!(outcomes, [Routed, Nacked, Unroutable, Routed]);
        assert!(publisher.used_ratio().abs() < 1e-9, "all places are free");
    }

    /// One of three places is taken: the first two of the batch are published, the others are not.
    #[tokio::test]
    async fn a_batch_over_the_limit_is_begun() {
        let (publisher, mut broker) = broker(3);
        let other = publisher.publish(batch(&["other"]).remove(0), PATIENCE);
        let ordered = async {
            let first = broker.take().await;
            let publishing = publisher.publish_in_order(batch(&["a", "b", "c", "d"]), PATIENCE);
            let answering = answer(&mut broker, 2, |_| Outcome::Routed);
            let done = tokio::join!(publishing, answering);
            assert!(broker.is_idle(), "the rest is not published");
            first.end(Outcome::Routed);
            done
        };
        let (_, (outcomes, seen)) = tokio::join!(other, ordered);
        assert_eq!(seen, "ab");
        use Outcome::{Overloaded, Routed};
        assert_eq!(outcomes, [Routed, Routed, Overloaded, Overloaded]);
    }

    #[tokio::test]
    async fn nothing_is_published_through_a_closed_gate() {
        let (publisher, mut broker) = broker(3);
        for (gate, outcome) in [
            (Gate::Down, Outcome::Unavailable),
            (Gate::Blocked, Outcome::Blocked),
        ] {
            broker.set(gate);
            let outcomes = publisher
                .publish_in_order(batch(&["a", "b"]), PATIENCE)
                .await;
            assert_eq!(outcomes, [outcome.clone(), outcome]);
        }
        assert!(broker.is_idle());
        assert_eq!(publisher.publish_in_order(Vec::new(), PATIENCE).await, []);
    }

    /// What was confirmed in time counts, whatever became of the rest.
    #[tokio::test(start_paused = true)]
    async fn what_is_not_confirmed_in_time_is_unknown() {
        let (publisher, mut broker) = broker(3);
        let publishing = publisher.publish_in_order(batch(&["a", "b"]), PATIENCE);
        let taking = async {
            let first = broker.take().await;
            let second = broker.take().await;
            first.end(Outcome::Routed);
            second
        };
        let (outcomes, _second) = tokio::join!(publishing, taking);
        assert_eq!(outcomes, [Outcome::Routed, Outcome::Unknown]);
    }
}
