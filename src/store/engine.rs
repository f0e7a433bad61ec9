//! The database with what keeps it going: it is opened again after an error, and made shorter when
//! there is little left in it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use redb::Database;
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::{
    Refused,
    error::panicked,
    file::{self, Opened, Place},
    gate::Key,
    state::State,
};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A file this many times as long as its records is made shorter: there is little to move then.
const SLACK: u64 = 16;

pub(super) struct Engine {
    place: Place,
    state: Arc<State>,
    open: Option<Open>,
    /// Since a transaction failed, until a probe has been written.
    trouble: Option<Trouble>,
    /// The file's length after it was last made shorter.
    shortest: u64,
}

struct Open {
    database: Database,
    file: Key,
}

struct Trouble {
    reason: String,
    pause: Duration,
    until: Instant,
}

impl Engine {
    pub(super) fn new(place: Place, state: Arc<State>, opened: Opened) -> Self {
        let mut engine = Self {
            place,
            state,
            open: None,
            trouble: None,
            shortest: 0,
        };
        engine.take(opened);
        engine.keep_reserve();
        engine
    }

    /// Why nothing that grows is tried at this time.
    pub(super) fn trouble(&self) -> Option<Refused> {
        let trouble = self.trouble.as_ref()?;
        Some(Refused::Unavailable(trouble.reason.clone()))
    }

    /// How long until [`Engine::recover`] has something to do; `None`: there is no trouble.
    pub(super) fn wait(&self) -> Option<Duration> {
        let trouble = self.trouble.as_ref()?;
        Some(trouble.until.saturating_duration_since(Instant::now()))
    }

    /// Does something with the database; where that fails, the database is opened anew, and what
    /// has reached the disk until then may be found in it.
    pub(super) fn attempt(
        &mut self,
        work: impl FnOnce(&mut Database) -> Result<(), redb::Error>,
    ) -> Result<(), Refused> {
        let Some(open) = &mut self.open else {
            return Err(self
                .trouble()
                .unwrap_or(Refused::Unavailable(String::new())));
        };
        // The database engine panics over some kinds of damage.
        let reason = match catch_unwind(AssertUnwindSafe(|| work(&mut open.database))) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panicked(panic.as_ref()),
        };
        self.fail(reason.clone());
        Err(Refused::Unknown(reason))
    }

    /// Once the pause is over: opens the database where it is not open, and writes a probe, so that
    /// a store that is up can take records.
    pub(super) fn recover(&mut self) {
        if self.wait() != Some(Duration::ZERO) {
            return;
        }
        if self.open.is_none() {
            self.reopen();
        }
        if self.open.is_none() {
            self.lengthen();
            return;
        }
        self.keep_reserve();
        if self.attempt(|database| file::probe(database)).is_ok() {
            self.trouble = None;
            self.state.set_up(true);
            info!(store = %self.place, "the store works again");
        }
    }

    /// Makes the file shorter where little of it is left in use. It pays that it takes a while: it
    /// is not done again until the file is twice as long.
    pub(super) fn tidy(&mut self) {
        let length = |engine: &Self| {
            let open = engine.open.as_ref();
            open.and_then(|open| open.file.length().ok()).unwrap_or(0)
        };
        let before = length(self);
        let spacious = before >= self.place.spacious && before / 2 >= self.shortest;
        let slack = before / SLACK >= self.state.bytes();
        if self.trouble.is_some() || !spacious || !slack {
            return;
        }
        let done = self.attempt(|database| {
            database.compact()?;
            Ok(())
        });
        if done.is_ok() {
            self.shortest = length(self);
            debug!(store = %self.place, before, after = self.shortest, "the store's file was made shorter");
        }
    }

    /// A database that failed may fail once more as it is dropped.
    pub(super) fn close(&mut self) {
        let open = self.open.take();
        if catch_unwind(AssertUnwindSafe(|| drop(open))).is_err() {
            error!(store = %self.place, "the store failed while it was being closed");
        }
    }

    // === Trouble ===

    /// A disk that has no room for it may still have room in the store's file.
    fn keep_reserve(&self) {
        if let Err(error) = self.place.reserve.keep() {
            debug!(store = %self.place, %error, "there is no room for the reserve");
        }
    }

    /// After an error the database refuses all further work: another takes its place, so that what
    /// is stored can be read and taken out even while nothing can be put in.
    fn fail(&mut self, reason: String) {
        self.close();
        self.place.reserve.release();
        if self.trouble.is_none() {
            error!(store = %self.place, reason, "the store failed and is being opened again");
        }
        let pause = self.trouble.as_ref().map(|trouble| trouble.pause * 2);
        self.state.set_up(false);
        self.trouble = Some(Trouble {
            reason,
            pause: pause.map_or(PAUSE_FIRST, |pause| pause.min(PAUSE_MAX)),
            until: Instant::now(),
        });
        self.reopen();
    }

    fn reopen(&mut self) {
        match self.place.open() {
            Ok(opened) => self.take(opened),
            Err(error) => {
                if let Some(trouble) = &mut self.trouble {
                    trouble.reason = error.to_string();
                }
            }
        }
        // The time that opening took is no part of the pause.
        if let Some(trouble) = &mut self.trouble {
            trouble.until = Instant::now() + trouble.pause;
        }
    }

    fn take(&mut self, opened: Opened) {
        let Opened {
            database,
            file,
            figures,
        } = opened;
        self.state.load(figures);
        self.open = Some(Open { database, file });
    }

    fn lengthen(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.pause = (trouble.pause * 2).min(PAUSE_MAX);
            trouble.until = Instant::now() + trouble.pause;
        }
    }
}
