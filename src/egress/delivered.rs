//! What was delivered lately: its acknowledgement may have been lost with the connection.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::quality::RandomState;

use crate::message::Message;

/// The latest deliveries of one route, by message id, attempt and content.
///
/// The broker has at most `prefetch` messages of a consumer unacknowledged, so no more can come
/// back after they have been delivered; twice as many are remembered.
#[derive(Debug)]
pub(super) struct Delivered {
    limit: usize,
    /// Seeded at random, and fast where bodies are large: each is hashed as a whole.
    hashing: RandomState,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    order: VecDeque<Key>,
    known: HashSet<Key>,
}

/// An id alone is not enough: a producer may use one for several messages, and of those that were
/// not delivered none may be taken for one that was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    id: String,
    attempts: u32,
    bytes: usize,
    /// Of the body, the exchange and the routing key, which a redelivery leaves as they were.
    content: u64,
}

impl Delivered {
    pub(super) fn new(prefetch: u16) -> Self {
        Self {
            limit: usize::from(prefetch).max(1) * 2,
            hashing: RandomState::default(),
            memory: Mutex::default(),
        }
    }

    /// Does nothing with a message without an id of its own, which nothing can recognise again.
    pub(super) fn remember(&self, message: &Message) {
        let Some(key) = self.key(message) else {
            return;
        };
        let mut memory = self.memory();
        if !memory.known.insert(key.clone()) {
            return;
        }
        memory.order.push_back(key);
        while memory.order.len() > self.limit {
            if let Some(oldest) = memory.order.pop_front() {
                memory.known.remove(&oldest);
            }
        }
    }

    pub(super) fn knows(&self, message: &Message) -> bool {
        self.key(message)
            .is_some_and(|key| self.memory().known.contains(&key))
    }

    fn key(&self, message: &Message) -> Option<Key> {
        let id = message.id()?.to_owned();
        let mut content = self.hashing.build_hasher();
        content.write(&message.body);
        for name in [&message.exchange, &message.routing_key] {
            // No name has this byte, so that what follows it is not taken for a part of it.
            content.write_u8(0xff);
            content.write(name.as_str().as_bytes());
        }
        Some(Key {
            id,
            attempts: message.failures(),
            bytes: message.body.len(),
            content: content.finish(),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    fn message(id: u32) -> Message {
        let mut message = testing::message(b"body");
        message.properties = message
            .properties
            .with_message_id(testing::short(&id.to_string()));
        message
    }

    /// Only the latest are known, however many there were.
    #[test]
    fn memory_is_bounded() {
        let delivered = Delivered::new(2);
        for id in 0..100 {
            delivered.remember(&message(id));
            delivered.remember(&message(id));
        }
        let known: Vec<u32> = (0..100)
            .filter(|id| delivered.knows(&message(*id)))
            .collect();
        assert_eq!(known, [96, 97, 98, 99]);
        let memory = delivered.memory();
        assert_eq!(memory.order.len(), memory.known.len());
    }

    /// Another message under the same id is not the one that was delivered.
    #[test]
    fn the_content_counts_as_well() {
        let delivered = Delivered::new(2);
        delivered.remember(&message(1));
        let mut again = message(1);
        again.redelivered = true;
        assert!(delivered.knows(&again));
        let other = |change: &dyn Fn(&mut Message)| {
            let mut other = message(1);
            change(&mut other);
            other
        };
        for other in [
            other(&|message| message.body = "bodY".into()),
            other(&|message| message.body = "body\0".into()),
            other(&|message| message.body = "".into()),
            other(&|message| message.exchange = "invoices".into()),
            other(&|message| message.routing_key = "order.cancelled".into()),
            other(&|message| {
                let mut table = lapin::types::FieldTable::default();
                table.insert("hareway-attempt".into(), 1_i64.into());
                message.properties = message.properties.clone().with_headers(table);
            }),
            message(2),
        ] {
            assert!(!delivered.knows(&other), "{other:?}");
        }
    }
}
