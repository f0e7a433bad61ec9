//! The thread that owns the database: what is waiting is done in one transaction, committed, and
//! only then answered.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use redb::{Database, ReadableDatabase};
use tokio::{sync::oneshot, time::Instant};
use tracing::{error, info};

use super::{
    Refused,
    command::{Command, Effect, Envelope, Read, Write},
    error::panicked,
    file::{self, Opened, Place},
    state::State,
    tables::Writing,
};

/// The most commands, and about the most bytes, of one transaction.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 16 << 20;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the thread has.
pub(super) struct Commit {
    queue: Receiver<Envelope>,
    place: Place,
    state: Arc<State>,
    database: Option<Database>,
    /// Since a transaction failed, until a probe has been written.
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    reason: String,
    pause: Duration,
    until: Instant,
}

/// What is done in one round.
#[derive(Default)]
struct Group {
    writes: Vec<Box<dyn Write>>,
    reads: Vec<Box<dyn Read>>,
    close: Option<oneshot::Sender<()>>,
    /// Held until all are answered, by which the queue is bounded.
    permits: Vec<tokio::sync::OwnedSemaphorePermit>,
    bytes: usize,
}

impl Commit {
    pub(super) fn new(
        queue: Receiver<Envelope>,
        place: Place,
        state: Arc<State>,
        database: Database,
    ) -> Self {
        Self {
            queue,
            place,
            state,
            database: Some(database),
            trouble: None,
        }
    }

    /// Works until the store is closed or its last handle is gone.
    pub(super) fn run(mut self) {
        loop {
            let wait = self
                .trouble
                .as_ref()
                .map(|trouble| trouble.until.saturating_duration_since(Instant::now()));
            let first = match wait {
                None => self
                    .queue
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => self.queue.recv_timeout(wait),
            };
            match first {
                Ok(first) => {
                    if let Some(closed) = self.round(first) {
                        self.drop_database();
                        drop(closed);
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.drop_database(),
            }
            self.recover();
        }
    }

    /// Does what is waiting; what it returns wants to know that the store is closed.
    fn round(&mut self, first: Envelope) -> Option<oneshot::Sender<()>> {
        let group = self.gather(first);
        self.write(group.writes);
        self.read(group.reads);
        group.close
    }

    fn gather(&mut self, first: Envelope) -> Group {
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(Envelope { command, permit }) = next {
            group.permits.extend(permit);
            match command {
                Command::Write(write) => {
                    group.bytes += write.weight();
                    group.writes.push(write);
                }
                Command::Read(read) => group.reads.push(read),
                Command::Close(closed) => {
                    group.close = Some(closed);
                    break;
                }
            }
            let full = group.permits.len() >= GROUP || group.bytes >= GROUP_BYTES;
            next = if full {
                None
            } else {
                self.queue.try_recv().ok()
            };
        }
        group
    }

    /// While there is trouble only what frees space is tried: it may be what ends the trouble.
    fn write(&mut self, mut writes: Vec<Box<dyn Write>>) {
        if let Some(trouble) = &self.trouble {
            let (frees, grows): (Vec<_>, Vec<_>) = writes
                .into_iter()
                .partition(|write| write.effect() == Effect::Frees);
            for write in grows {
                write.answer(Err(Refused::Unavailable(trouble.reason.clone())));
            }
            writes = frees;
        }
        if writes.is_empty() {
            return;
        }
        let done = self.attempt(|database| transact(database, &mut writes));
        for write in writes {
            write.answer(done.clone());
        }
    }

    fn read(&mut self, reads: Vec<Box<dyn Read>>) {
        if reads.is_empty() {
            return;
        }
        let mut answers = Vec::with_capacity(reads.len());
        let mut reads = reads.into_iter();
        let done = self.attempt(|database| {
            let transaction = database.begin_read()?;
            for read in reads.by_ref() {
                let (result, answer) = read.apply(&transaction);
                answers.push(answer);
                result?;
            }
            Ok(())
        });
        for answer in answers {
            answer(done.clone());
        }
        if let Err(refused) = done {
            reads.for_each(|read| read.refuse(refused.clone()));
        }
    }

    /// Does something with the database; where that fails, the database is opened anew.
    fn attempt(
        &mut self,
        work: impl FnOnce(&Database) -> Result<(), redb::Error>,
    ) -> Result<(), Refused> {
        let Some(database) = &self.database else {
            let reason = self.trouble.as_ref().map(|trouble| trouble.reason.clone());
            return Err(Refused::Unavailable(reason.unwrap_or_default()));
        };
        let reason = match catch_unwind(AssertUnwindSafe(|| work(database))) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panicked(panic.as_ref()),
        };
        self.fail(reason.clone());
        self.reopen();
        Err(Refused::Unavailable(reason))
    }

    // === Trouble ===

    /// After an error the database refuses all further work: it is dropped.
    fn fail(&mut self, reason: String) {
        self.drop_database();
        let pause = match &self.trouble {
            Some(trouble) => (trouble.pause * 2).min(PAUSE_MAX),
            None => {
                error!(store = %self.place, reason, "the store failed and is being opened again");
                PAUSE_FIRST
            }
        };
        self.state.set_up(false);
        self.trouble = Some(Trouble {
            reason,
            pause,
            until: Instant::now() + pause,
        });
    }

    fn reopen(&mut self) {
        match (self.place.open(), &mut self.trouble) {
            (Ok(Opened { database, figures }), _) => {
                self.state.load(figures);
                self.database = Some(database);
            }
            (Err(error), Some(trouble)) => trouble.reason = error.to_string(),
            (Err(_), None) => {}
        }
        // The time that opening took is no part of the pause.
        if let Some(trouble) = &mut self.trouble {
            trouble.until = Instant::now() + trouble.pause;
        }
    }

    /// Once the pause is over: opens the database where it is not open, and writes a probe, so that
    /// a store that is up can take records.
    fn recover(&mut self) {
        let due = |trouble: &Trouble| trouble.until <= Instant::now();
        if !self.trouble.as_ref().is_some_and(due) {
            return;
        }
        if self.database.is_none() {
            self.reopen();
        }
        let probed = match &self.database {
            Some(database) => catch_unwind(AssertUnwindSafe(|| file::probe(database))),
            None => return self.lengthen(),
        };
        match probed {
            Ok(Ok(())) => {
                self.trouble = None;
                self.state.set_up(true);
                info!(store = %self.place, "the store works again");
            }
            Ok(Err(error)) => {
                self.fail(error.to_string());
                self.reopen();
            }
            Err(panic) => {
                self.fail(panicked(panic.as_ref()));
                self.reopen();
            }
        }
    }

    fn lengthen(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.pause = (trouble.pause * 2).min(PAUSE_MAX);
            trouble.until = Instant::now() + trouble.pause;
        }
    }

    /// A database that failed may fail once more as it is dropped.
    fn drop_database(&mut self) {
        let database = self.database.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            error!(store = %self.place, "the store failed while it was being closed");
        }
    }
}

fn transact(database: &Database, writes: &mut [Box<dyn Write>]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut tables = Writing::new(&transaction);
    for write in writes {
        write.apply(&mut tables)?;
    }
    drop(tables);
    transaction.commit()?;
    Ok(())
}
