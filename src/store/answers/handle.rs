//! The keys and answers of one route.

use std::{sync::Arc, time::SystemTime};

use lapin::types::ShortString;

use super::{Answer, Begin, Begun, Digest, Kept, Tally, tables};
use crate::store::{
    Refused,
    command::{Commands, Effect},
    record::microseconds,
};

/// A route's keys and answers; clones share them.
#[derive(Debug, Clone)]
pub struct Answers {
    route: Arc<str>,
    max_bytes: u64,
    commands: Commands,
    tally: Arc<Tally>,
}

impl Answers {
    pub(in crate::store) fn new(
        route: Arc<str>,
        max_bytes: u64,
        commands: Commands,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            route,
            max_bytes,
            commands,
            tally,
        }
    }

    /// Looks a key up and begins it where it is new; returns once that is on the disk.
    ///
    /// # Errors
    /// [`Refused::Full`]: a new key would pass the route's limit. [`Refused::Unavailable`].
    /// [`Refused::Unknown`]: the key may have been begun.
    pub async fn begin(&self, begin: Begin) -> Result<Begun, Refused> {
        let (route, limit) = (self.route.clone(), self.max_bytes);
        let tally = self.tally.clone();
        let asked = begin.clone();
        let change = move |tables: &mut super::Tables<'_>| tables.begin(&route, &asked, limit);
        let begun = self
            .commands
            .write(
                Effect::Grows,
                size_of::<Begin>(),
                move |tables| change(tables.answers()?),
                move |(_, kept)| tally.set(*kept),
            )
            .await;
        match begun {
            Ok((Some(begun), _)) => Ok(begun),
            Ok((None, _)) => Err(Refused::Full),
            // A store that takes nothing may still know the answer.
            Err(unavailable) => match self.look(begin).await {
                Some(known @ (Begun::Answered(_) | Begun::Conflict)) => Ok(known),
                _ => Err(unavailable),
            },
        }
    }

    /// What is known of a key, which may well be read where nothing can be written.
    pub(in crate::store) async fn look(&self, begin: Begin) -> Option<Begun> {
        let route = self.route.clone();
        let look = move |transaction: &_| tables::look(transaction, &route, &begin);
        self.commands.read(look).await.ok().flatten()
    }

    /// Keeps the answer of a key that was begun for this message; returns once it is on the disk.
    /// A key that has expired meanwhile stays gone.
    ///
    /// # Errors
    /// [`Refused::Full`]: the answer would pass the route's limit, and the key stays begun.
    /// [`Refused::Unavailable`]. [`Refused::Unknown`]: the answer may have been kept.
    pub async fn finish(
        &self,
        key: Digest,
        message_id: ShortString,
        answer: Answer,
        now: SystemTime,
    ) -> Result<(), Refused> {
        let (route, tally) = (self.route.clone(), self.tally.clone());
        let bounds = (self.max_bytes, microseconds(now));
        let weight = answer.body.len();
        let (kept, _) = self
            .commands
            .write(
                Effect::Grows,
                weight,
                move |tables| {
                    let tables = tables.answers()?;
                    tables.finish(&route, &key, message_id.as_str(), answer, bounds)
                },
                move |(_, kept)| tally.set(*kept),
            )
            .await?;
        kept.ok_or(Refused::Full)
    }

    /// Forgets a key that was begun for this message, which was certainly not published.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]: the key is still begun. [`Refused::Unknown`]: it may be.
    pub async fn release(&self, key: Digest, message_id: ShortString) -> Result<(), Refused> {
        let (route, tally) = (self.route.clone(), self.tally.clone());
        self.commands
            .write(
                Effect::Frees,
                0,
                move |tables| tables.answers()?.release(&route, &key, message_id.as_str()),
                move |kept| tally.set(*kept),
            )
            .await?;
        Ok(())
    }

    /// What is on the disk, exact when a change is answered.
    pub fn kept(&self) -> Kept {
        self.tally.get()
    }

    /// From 0 to 1: how much of the route's limit is used.
    pub fn used_ratio(&self) -> f64 {
        self.tally.get().bytes as f64 / self.max_bytes.max(1) as f64
    }
}
