//! What was delivered lately: its acknowledgement may have been lost with the connection.

use std::collections::{HashSet, VecDeque};

use super::forwarder::Job;

/// The latest deliveries of one route, by message id and attempt.
///
/// The broker has at most `prefetch` messages of a consumer unacknowledged, so no more can come
/// back after they have been delivered; twice as many are remembered.
#[derive(Debug)]
pub(super) struct Delivered {
    limit: usize,
    order: VecDeque<Key>,
    known: HashSet<Key>,
}

type Key = (String, u32);

impl Delivered {
    pub(super) fn new(prefetch: u16) -> Self {
        Self {
            limit: usize::from(prefetch).max(1) * 2,
            order: VecDeque::new(),
            known: HashSet::new(),
        }
    }

    /// `None` for a message without an id of its own, which nothing can recognise again.
    pub(super) fn key(job: &Job) -> Option<Key> {
        Some((job.message.id()?.to_owned(), job.message.failures()))
    }

    pub(super) fn remember(&mut self, key: Key) {
        if !self.known.insert(key.clone()) {
            return;
        }
        self.order.push_back(key);
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    pub(super) fn knows(&self, key: &Key) -> bool {
        self.known.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the latest are known, however many there were.
    #[test]
    fn memory_is_bounded() {
        let mut delivered = Delivered::new(2);
        let key = |number: u32| (number.to_string(), 0);
        for number in 0..100 {
            delivered.remember(key(number));
            delivered.remember(key(number));
        }
        let known: Vec<u32> = (0..100)
            .filter(|number| delivered.knows(&key(*number)))
            .collect();
        assert_eq!(known, [96, 97, 98, 99]);
        assert!(!delivered.knows(&("99".to_owned(), 1)));
        assert_eq!(delivered.order.len(), delivered.known.len());
    }
}
