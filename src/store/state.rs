//! What is known about the store without asking its thread.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    answers::{Kept, Tallies},
    spool::Totals,
};

/// The figures of a file that was just opened, by route.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) spools: Vec<(Arc<str>, Totals)>,
    pub(super) answers: Vec<(Arc<str>, Kept)>,
}

/// Shared by the handles and the thread.
#[derive(Debug)]
pub(super) struct State {
    up: watch::Sender<bool>,
    lines: Mutex<HashMap<Arc<str>, Arc<Line>>>,
    pub(super) answers: Tallies,
}

/// The figures of one route's spool, as they are on the disk.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Totals>);

impl State {
    pub(super) fn new() -> Self {
        Self {
            up: watch::Sender::new(true),
            lines: Mutex::default(),
            answers: Tallies::default(),
        }
    }

    /// Whether commands are being done.
    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up
            .send_if_modified(|now| std::mem::replace(now, up) != up);
    }

    /// Takes the figures of a file that was just opened.
    pub(super) fn load(&self, figures: Figures) {
        self.answers.load(figures.answers);
        let mut spools: HashMap<_, _> = figures.spools.into_iter().collect();
        let mut lines = lock(&self.lines);
        // Each is set once: a line that seemed empty for a moment would be overtaken.
        for (route, line) in &*lines {
            line.set(spools.remove(route).unwrap_or_default());
        }
        for (route, totals) in spools {
            lines.entry(route).or_default().set(totals);
        }
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        let lines = lock(&self.lines);
        let spooled: u64 = lines.values().map(|line| line.get().bytes()).sum();
        spooled + self.answers.bytes()
    }

    pub(super) fn line(&self, route: &Arc<str>) -> Arc<Line> {
        lock(&self.lines).entry(route.clone()).or_default().clone()
    }

    /// Every route that is or was spooled, in the order of their names.
    pub(super) fn lines(&self) -> Vec<(Arc<str>, Totals)> {
        let mut lines: Vec<_> = lock(&self.lines)
            .iter()
            .map(|(route, line)| (route.clone(), line.get()))
            .collect();
        lines.sort_by(|(left, _), (right, _)| left.cmp(right));
        lines
    }
}

impl Line {
    pub(super) fn get(&self) -> Totals {
        *lock(&self.0)
    }

    pub(super) fn set(&self, totals: Totals) {
        *lock(&self.0) = totals;
    }
}

/// The values are whole between any two statements, so a lock that a panic left is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Callers look at the figures while the file is being opened again.
    #[test]
    fn a_line_never_seems_empty_while_its_figures_are_loaded() {
        let waiting = Totals::of_one(100);
        let figures = || Figures {
            spools: vec![("orders".into(), waiting)],
            answers: Vec::new(),
        };
        let state = State::new();
        state.load(figures());
        let (line, over) = (state.line(&"orders".into()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(line.get(), waiting);
                }
            });
            for _ in 0..20_000 {
                state.load(figures());
            }
            over.store(true, Ordering::Relaxed);
            looking.join().unwrap();
        });
        state.load(Figures::default());
        assert_eq!(line.get(), Totals::default(), "what is gone is gone");
    }
}
