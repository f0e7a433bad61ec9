//! The store as the rest of the program sees it.

use std::{
    path::Path,
    sync::{Arc, mpsc::sync_channel},
    thread,
};

use tokio::sync::watch;

use super::{
    StoreError,
    answers::Answers,
    command::{Commands, QUEUE},
    commit::Commit,
    engine::Engine,
    file::Place,
    spool::{Spool, Usage},
    state::State,
};
use crate::config::model;

/// A store that is open; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) commands: Commands,
    pub(super) state: Arc<State>,
}

impl Store {
    /// Opens the store in `folder`, or makes one there. Blocks: after a crash the whole file is
    /// read.
    ///
    /// # Errors
    /// The file is in use, is no store, has another format, is damaged or cannot be read; it is
    /// left as it was.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::start(Place::in_folder(folder)?)
    }

    pub(super) fn start(place: Place) -> Result<Self, StoreError> {
        let path = place.path().to_owned();
        let opened = place.open()?;
        let state = Arc::new(State::new());
        let (queue, commands) = sync_channel(QUEUE);
        let commit = Commit::new(commands, Engine::new(place, state.clone(), opened));
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || commit.run())
            .map_err(|error| StoreError::Io { path, error })?;
        Ok(Self {
            commands: Commands::new(queue),
            state,
        })
    }

    /// Whether `folder` has a store's file, whatever is in it.
    pub fn exists(folder: &Path) -> bool {
        Place::path_in(folder).is_file()
    }

    /// The spool of a route.
    pub fn spool(&self, route: &Arc<str>, limits: &model::Spool) -> Spool {
        Spool::new(
            route.clone(),
            limits.max_bytes,
            self.commands.clone(),
            self.state.line(route),
        )
    }

    /// The keys of a route's calls, and the answers to them.
    pub fn answers(&self, route: &Arc<str>, settings: &model::Idempotency) -> Answers {
        Answers::new(
            route.clone(),
            settings.max_bytes,
            self.commands.clone(),
            self.state.answers.of(route),
        )
    }

    /// The routes that have a spool or have messages from a time when they had one.
    pub fn spooled(&self) -> Vec<(Arc<str>, Usage)> {
        let lines = self.state.lines().into_iter();
        lines
            .map(|(route, totals)| (route, totals.usage()))
            .collect()
    }

    /// Whether the file can be written at this time.
    pub fn is_up(&self) -> bool {
        self.state.is_up()
    }

    /// Follows [`Store::is_up`].
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.state.watch()
    }

    /// Does what was asked before, and closes the file; everything from then on is refused.
    pub async fn close(&self) {
        self.commands.close().await;
    }

    /// A disk that hangs until what this returns is dropped.
    #[cfg(test)]
    pub(crate) async fn hang(&self) -> std::sync::mpsc::SyncSender<()> {
        let (hanging, end) = std::sync::mpsc::sync_channel(0);
        let (begin, begun) = tokio::sync::oneshot::channel();
        let commands = self.commands.clone();
        let hang = async move {
            let hang = move |_: &_| {
                begin.send(()).unwrap();
                end.recv().unwrap_err();
                Ok(())
            };
            commands.read(hang).await.unwrap();
        };
        crate::task::spawn(&tokio_util::task::TaskTracker::new(), "hang", hang);
        begun.await.unwrap();
        hanging
    }
}
