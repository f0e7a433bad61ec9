//! What has been tried in vain, so that a later round of the same walk leaves it alone.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use super::Facts;
use crate::message::Message;

/// With more failures than these, a walk ends before its next round.
const MOST: usize = 100_000;

/// Messages as hashes of what a return to the queue does not change, with how many are alike.
type Counted = HashMap<u64, u32>;

/// The messages that could not be replayed and stay.
#[derive(Debug, Default)]
pub(super) struct Tried {
    hashing: RandomState,
    failed: Counted,
    /// Those of earlier rounds that this round has not come across yet.
    unmet: Counted,
    full: bool,
}

impl Tried {
    pub(super) fn begin_round(&mut self) {
        self.unmet.clone_from(&self.failed);
    }

    /// Whether this message, or one that is the same in all that counts, failed in an earlier round.
    pub(super) fn met(&mut self, message: &Message, facts: &Facts) -> bool {
        if self.unmet.is_empty() {
            return false;
        }
        let key = self.key(message, facts);
        let Some(alike) = self.unmet.get_mut(&key) else {
            return false;
        };
        *alike -= 1;
        if *alike == 0 {
            self.unmet.remove(&key);
        }
        true
    }

    pub(super) fn add(&mut self, message: &Message, facts: &Facts) {
        if self.failed.len() >= MOST {
            self.full = true;
            return;
        }
        let key = self.key(message, facts);
        *self.failed.entry(key).or_default() += 1;
    }

    /// How many are remembered to lie before what has not been tried.
    pub(super) fn unmet(&self) -> u64 {
        self.unmet.values().map(|alike| u64::from(*alike)).sum()
    }

    /// Whether some could not be remembered.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    fn key(&self, message: &Message, facts: &Facts) -> u64 {
        let mut hasher = self.hashing.build_hasher();
        let id = facts.id.as_deref().unwrap_or_default();
        for part in [id, message.exchange.as_str(), message.routing_key.as_str()] {
            hasher.write(part.as_bytes());
            // No text has this byte.
            hasher.write_u8(0xff);
        }
        hasher.write(&message.body);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(body: &'static str) -> Message {
        Message {
            exchange: "e".into(),
            routing_key: "k".into(),
            redelivered: false,
            properties: lapin::BasicProperties::default(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    /// Of several that are alike, each that failed is left alone and each other one is tried; in
    /// every round anew.
    #[test]
    fn each_is_tried_once() {
        let facts = Facts::default();
        let mut tried = Tried::default();
        tried.begin_round();
        assert!(!tried.met(&message("a"), &facts));
        tried.add(&message("a"), &facts);
        tried.add(&message("a"), &facts);
        // Not in the round in which they failed: the next ones are others.
        assert!(!tried.met(&message("a"), &facts));
        for _ in 0..2 {
            tried.begin_round();
            assert_eq!(tried.unmet(), 2);
            assert!(!tried.met(&message("b"), &facts));
            assert!(tried.met(&message("a"), &facts));
            assert!(tried.met(&message("a"), &facts));
            assert!(!tried.met(&message("a"), &facts));
            assert_eq!(tried.unmet(), 0);
        }
        assert!(!tried.is_full());
    }

    #[test]
    fn memory_is_bounded() {
        let mut tried = Tried::default();
        let id = |number: usize| Facts {
            id: Some(number.to_string()),
            ..Facts::default()
        };
        for number in 0..MOST {
            tried.add(&message("a"), &id(number));
        }
        assert!(!tried.is_full());
        tried.add(&message("a"), &id(MOST));
        assert!(tried.is_full());
        assert_eq!(tried.failed.len(), MOST);
    }
}
