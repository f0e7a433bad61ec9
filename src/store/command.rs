//! What can be asked of the commit thread, and how: any closure over a transaction is a command.

use std::sync::{Arc, mpsc::SyncSender};

use redb::ReadTransaction;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Refused, tables::Writing};

/// Commands that may wait for the thread; further callers wait for a place.
pub(super) const QUEUE: usize = 1024;

/// The way to the commit thread; clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Commands {
    queue: SyncSender<Envelope>,
    /// As many as the queue has places: it is never full for who holds one.
    permits: Arc<Semaphore>,
}

pub(super) struct Envelope {
    pub(super) command: Command,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

pub(super) enum Command {
    Write(Box<dyn Write>),
    Read(Box<dyn Read>),
    /// The sender is dropped once the file is closed.
    Close(oneshot::Sender<()>),
}

/// What a write does to the room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Grows,
    /// It is tried even while the disk is full.
    Frees,
}

/// A change, made in one transaction with others. One that refuses must leave the tables alone.
pub(super) trait Write: Send {
    fn effect(&self) -> Effect;
    /// About how many bytes it writes.
    fn weight(&self) -> usize;
    fn apply(&mut self, tables: &mut Writing<'_>) -> Result<(), redb::Error>;
    /// Called after the commit, in the order of the changes.
    fn answer(self: Box<Self>, committed: Result<(), Refused>);
}

/// A question; it sees everything that was answered before it was asked.
pub(super) trait Read: Send {
    fn apply(self: Box<Self>, transaction: &ReadTransaction) -> (Result<(), redb::Error>, Answer);
    fn refuse(self: Box<Self>, refused: Refused);
}

/// Tells who asked.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Refused>)>;

struct Change<T, A, C> {
    effect: Effect,
    weight: usize,
    apply: Option<A>,
    found: Option<T>,
    committed: C,
    answer: oneshot::Sender<Result<T, Refused>>,
}

struct Question<T, A> {
    apply: A,
    answer: oneshot::Sender<Result<T, Refused>>,
}

impl Commands {
    pub(super) fn new(queue: SyncSender<Envelope>) -> Self {
        Self {
            queue,
            permits: Arc::new(Semaphore::new(QUEUE)),
        }
    }

    /// Changes the tables, and returns once the change is on the disk. `committed` runs on the
    /// thread after the commit and before the answer, in the order of the changes.
    ///
    /// A change that has been asked for is made, even if the future is dropped.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        effect: Effect,
        weight: usize,
        apply: impl FnOnce(&mut Writing<'_>) -> Result<T, redb::Error> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, outcome) = oneshot::channel();
        let change = Change {
            effect,
            weight,
            apply: Some(apply),
            found: None,
            committed,
            answer,
        };
        self.send(Command::Write(Box::new(change))).await?;
        outcome.await.map_err(|_| gone())?
    }

    /// Reads the tables.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        apply: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, outcome) = oneshot::channel();
        let question = Question { apply, answer };
        self.send(Command::Read(Box::new(question))).await?;
        outcome.await.map_err(|_| closed())?
    }

    /// Does what was asked before, closes the file, and refuses everything from then on.
    pub(super) async fn close(&self) {
        let (closed, told) = oneshot::channel();
        if self.send(Command::Close(closed)).await.is_ok() {
            // Nothing is ever sent: the channel ends when the file is closed.
            drop(told.await);
        }
        self.permits.close();
    }

    async fn send(&self, command: Command) -> Result<(), Refused> {
        let permit = self.permits.clone().acquire_owned().await;
        let envelope = Envelope {
            command,
            permit: Some(permit.map_err(|_| closed())?),
        };
        self.queue.try_send(envelope).map_err(|_| closed())
    }
}

impl<T, A, C> Write for Change<T, A, C>
where
    T: Send + 'static,
    A: FnOnce(&mut Writing<'_>) -> Result<T, redb::Error> + Send,
    C: FnOnce(&T) + Send,
{
    fn effect(&self) -> Effect {
        self.effect
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn apply(&mut self, tables: &mut Writing<'_>) -> Result<(), redb::Error> {
        if let Some(apply) = self.apply.take() {
            self.found = Some(apply(tables)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Refused>) {
        let Self {
            found,
            committed: follow,
            answer,
            ..
        } = *self;
        let outcome = committed.and_then(|()| found.ok_or_else(gone));
        if let Ok(found) = &outcome {
            follow(found);
        }
        // Who asked may have gone, which is no matter.
        drop(answer.send(outcome));
    }
}

impl<T, A> Read for Question<T, A>
where
    T: Send + 'static,
    A: FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send,
{
    fn apply(self: Box<Self>, transaction: &ReadTransaction) -> (Result<(), redb::Error>, Answer) {
        let Self { apply, answer } = *self;
        let (result, found) = match apply(transaction) {
            Ok(found) => (Ok(()), Some(found)),
            Err(error) => (Err(error), None),
        };
        let tell = move |read: Result<(), Refused>| {
            let found = match (found, read) {
                (Some(found), _) => Ok(found),
                (None, Err(refused)) => Err(refused),
                (None, Ok(())) => Err(closed()),
            };
            drop(answer.send(found));
        };
        (result, Box::new(tell))
    }

    fn refuse(self: Box<Self>, refused: Refused) {
        drop(self.answer.send(Err(refused)));
    }
}

fn closed() -> Refused {
    Refused::Unavailable("it is closed".to_owned())
}

/// It was taken, and nobody is left to say what became of it.
fn gone() -> Refused {
    Refused::Unknown("it was closed meanwhile".to_owned())
}
