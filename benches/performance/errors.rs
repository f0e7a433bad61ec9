//! What went wrong, counted.

use serde::{Deserialize, Serialize};

/// A count, and the first of them in words.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Errors {
    pub(crate) count: u64,
    pub(crate) first: Option<String>,
}

// === impl Errors ===

impl Errors {
    pub(crate) fn add(&mut self, count: u64, what: impl FnOnce() -> String) {
        if count > 0 {
            self.count += count;
            self.first.get_or_insert_with(what);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }
}
