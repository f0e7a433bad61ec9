//! The figures of each route, known without asking the store's thread.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Kept;

/// Of all routes; shared by the handles and the thread.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<Arc<str>, Arc<Tally>>>);

/// Of one route, as it is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Kept>);

impl Tallies {
    /// Takes the figures of a file that was just opened.
    pub(crate) fn load(&self, all: Vec<(Arc<str>, Kept)>) {
        let mut tallies = lock(&self.0);
        tallies
            .values()
            .for_each(|tally| tally.set(Kept::default()));
        for (route, kept) in all {
            tallies.entry(route).or_default().set(kept);
        }
    }

    /// Bytes of all records.
    pub(crate) fn bytes(&self) -> u64 {
        let tallies = lock(&self.0);
        tallies.values().map(|tally| tally.get().bytes).sum()
    }

    pub(crate) fn of(&self, route: &Arc<str>) -> Arc<Tally> {
        lock(&self.0).entry(route.clone()).or_default().clone()
    }
}

impl Tally {
    pub(super) fn get(&self) -> Kept {
        *lock(&self.0)
    }

    pub(super) fn set(&self, kept: Kept) {
        *lock(&self.0) = kept;
    }
}

/// The values are whole between any two statements, so a lock that a panic left is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
