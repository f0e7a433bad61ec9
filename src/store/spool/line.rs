//! The line of a route: in at the end, out at the front.

use std::{sync::Arc, time::SystemTime};

use tracing::error;

use super::{
    Entry, Tables, Totals, Usage,
    tables::{self, Page},
};
use crate::{
    message::Publish,
    store::{
        Refused,
        command::{Commands, Effect},
        record,
        state::Line,
    },
};

/// Why a message that cannot be read was set apart.
const DAMAGED: &str = "damaged";

/// A route's spool; clones share it.
#[derive(Debug, Clone)]
pub struct Spool {
    pub(super) route: Arc<str>,
    max_bytes: u64,
    pub(super) commands: Commands,
    line: Arc<Line>,
}

impl Spool {
    pub(in crate::store) fn new(
        route: Arc<str>,
        max_bytes: u64,
        commands: Commands,
        line: Arc<Line>,
    ) -> Self {
        Self {
            route,
            max_bytes,
            commands,
            line,
        }
    }

    /// Puts a message at the end of the line; returns once it is on the disk.
    ///
    /// A message that has been handed over is stored, even if the future is dropped.
    ///
    /// # Errors
    /// [`Refused::Full`]: it would pass the route's limit. [`Refused::Unfit`]: its headers are
    /// nested too deep. [`Refused::Unavailable`]. [`Refused::Unknown`]: it may be in line.
    pub async fn append(&self, publish: Publish) -> Result<(), Refused> {
        let Some(record) = record::encode(&publish, SystemTime::now()) else {
            return Err(Refused::Unfit("its headers are nested too deep"));
        };
        drop(publish);
        let (route, limit) = (self.route.clone(), self.max_bytes);
        // Spares a full spool the write; what counts is the same question in the transaction.
        if self.line.get().is_full(record.len(), limit) {
            return Err(Refused::Full);
        }
        let stored = self
            .change(Effect::Grows, record.len(), move |tables| {
                let totals = tables.append(&route, &record, limit)?;
                Ok((totals.is_some(), totals))
            })
            .await?;
        if stored { Ok(()) } else { Err(Refused::Full) }
    }

    /// The first messages in line, oldest first: at most `most`, and no more than `bytes` except
    /// by the last one. They stay in line.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], [`Refused::Unknown`].
    pub async fn first(&self, most: usize, bytes: u64) -> Result<Vec<Entry>, Refused> {
        self.after(None, most, bytes).await
    }

    /// As [`Spool::first`], of those behind the key `after`.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], [`Refused::Unknown`].
    pub async fn after(
        &self,
        after: Option<u64>,
        most: usize,
        bytes: u64,
    ) -> Result<Vec<Entry>, Refused> {
        loop {
            let route = self.route.clone();
            let read = move |transaction: &_| tables::page(transaction, &route, after, most, bytes);
            let Page { entries, damaged } = self.commands.read(read).await?;
            if damaged.is_empty() {
                return Ok(entries);
            }
            error!(route = %self.route, keys = ?damaged, "damaged messages in the spool are set apart");
            self.set_apart(damaged, DAMAGED).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// Takes messages out of the line for good; keys that are not there are no error.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]: they are still in line. [`Refused::Unknown`]: they may be gone.
    pub async fn remove(&self, keys: Vec<u64>) -> Result<(), Refused> {
        let route = self.route.clone();
        self.change(Effect::Frees, 0, move |tables| {
            let totals = tables.remove(&route, &keys)?;
            Ok(((), Some(totals)))
        })
        .await
    }

    /// As it was when the last change was answered, or later.
    pub fn usage(&self) -> Usage {
        self.line.get().usage()
    }

    /// Whether nothing is in line.
    pub fn is_empty(&self) -> bool {
        self.usage().messages == 0
    }

    /// Changes the tables; the route's figures follow before the answer.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        effect: Effect,
        weight: usize,
        apply: impl FnOnce(&mut Tables<'_>) -> Result<(T, Option<Totals>), redb::Error> + Send + 'static,
    ) -> Result<T, Refused> {
        let line = self.line.clone();
        let committed = move |(_, totals): &(T, Option<Totals>)| {
            if let Some(totals) = totals {
                line.set(*totals);
            }
        };
        let apply = move |writing: &mut crate::store::tables::Writing<'_>| apply(writing.spool()?);
        let (found, _) = self
            .commands
            .write(effect, weight, apply, committed)
            .await?;
        Ok(found)
    }
}
