//! A line that tells how far it has come, on a terminal only.

use std::{
    io::{IsTerminal, Write, stderr},
    time::Duration,
};

use tokio::time::Instant;

use crate::amqp::parked::Tally;

const EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    next: Instant,
    terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            shown: false,
            next: Instant::now() + EVERY,
            terminal: stderr().is_terminal(),
        }
    }

    pub(super) fn tell(&mut self, tally: &Tally) {
        if !self.terminal || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        self.shown = true;
        let Tally {
            messages,
            scanned,
            matched,
            replayed,
            discarded,
            ..
        } = tally;
        let done = replayed + discarded;
        eprint!("\r\x1b[K{scanned} of {messages} looked at, {matched} match, {done} done");
        drop(stderr().flush());
    }

    /// Makes room for other lines.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            eprint!("\r\x1b[K");
        }
    }
}
