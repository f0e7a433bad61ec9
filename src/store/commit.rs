//! The thread that owns the database: what is waiting is done in one transaction, committed, and
//! only then answered.

use std::sync::mpsc::{Receiver, RecvTimeoutError};

use redb::{Database, ReadableDatabase};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    command::{Command, Effect, Envelope, Read, Write},
    engine::Engine,
    tables::Writing,
};

/// The most commands, and about the most bytes, of one transaction.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 16 << 20;

/// What the thread has.
pub(super) struct Commit {
    queue: Receiver<Envelope>,
    engine: Engine,
}

/// What is done in one round.
#[derive(Default)]
struct Group {
    writes: Vec<Box<dyn Write>>,
    reads: Vec<Box<dyn Read>>,
    close: Option<oneshot::Sender<()>>,
    /// Held until all are answered, by which the queue is bounded.
    permits: Vec<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Commit {
    pub(super) fn new(queue: Receiver<Envelope>, engine: Engine) -> Self {
        Self { queue, engine }
    }

    /// Works until the store is closed or its last handle is gone.
    pub(super) fn run(mut self) {
        loop {
            let gone = |_| RecvTimeoutError::Disconnected;
            let first = match self.engine.wait() {
                None => self.queue.recv().map_err(gone),
                Some(wait) => self.queue.recv_timeout(wait),
            };
            match first {
                Ok(first) => {
                    if let Some(closed) = self.round(first) {
                        self.engine.close();
                        drop(closed);
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.engine.close(),
            }
            self.engine.recover();
        }
    }

    /// Does what is waiting; what it returns wants to know that the store is closed.
    fn round(&mut self, first: Envelope) -> Option<oneshot::Sender<()>> {
        let group = self.gather(first);
        let mut effects = group.writes.iter().map(|write| write.effect());
        let freed = effects.any(|effect| effect == Effect::Frees);
        self.write(group.writes);
        self.read(group.reads);
        if freed {
            self.engine.tidy();
        }
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
        if let Some(refused) = self.engine.trouble() {
            let (frees, grows): (Vec<_>, Vec<_>) = writes
                .into_iter()
                .partition(|write| write.effect() == Effect::Frees);
            for write in grows {
                write.answer(Err(refused.clone()));
            }
            writes = frees;
        }
        if writes.is_empty() {
            return;
        }
        let done = self
            .engine
            .attempt(|database| transact(database, &mut writes));
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
        let done = self.engine.attempt(|database| {
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
