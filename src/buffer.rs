//! The bound on all bodies held at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many bytes of bodies this process holds, against the most it may.
#[derive(Debug, Clone)]
pub struct Buffer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: AtomicU64,
    limit: u64,
}

/// Bytes that count as held until this is dropped.
#[derive(Debug)]
pub struct Held {
    buffer: Buffer,
    bytes: u64,
}

impl Buffer {
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Shared {
            held: AtomicU64::new(0),
            limit,
        }))
    }

    /// Takes `bytes` of the limit, or `None` where that would pass it.
    pub fn try_hold(&self, bytes: u64) -> Option<Held> {
        let mut held = self.hold(0);
        held.try_grow(bytes).then_some(held)
    }

    /// Counts bytes that are in memory already, even past the limit.
    pub fn hold(&self, bytes: u64) -> Held {
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        Held {
            buffer: self.clone(),
            bytes,
        }
    }

    /// From 0 to 1, and beyond where deliveries have passed the limit.
    pub fn used_ratio(&self) -> f64 {
        self.0.held.load(Ordering::Relaxed) as f64 / self.0.limit.max(1) as f64
    }
}

impl Held {
    /// Takes `more` bytes as well; `false`, and nothing taken, where that would pass the limit.
    pub fn try_grow(&mut self, more: u64) -> bool {
        let Shared { held, limit } = &*self.buffer.0;
        let taken = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            now.checked_add(more).filter(|sum| sum <= limit)
        });
        if taken.is_ok() {
            self.bytes += more;
        }
        taken.is_ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.buffer.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
