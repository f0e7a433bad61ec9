//! Messages that were taken out of the line and kept: too old, refused for good, or damaged.

use std::time::SystemTime;

use super::{
    Spool,
    tables::{self, ApartRow},
};
use crate::{
    message::Publish,
    store::{Refused, command::Effect, record},
};

/// A message that was set apart.
#[derive(Debug, Clone)]
pub struct Apart {
    pub key: u64,
    /// When it was set apart.
    pub since: SystemTime,
    pub reason: String,
    /// Of its record.
    pub bytes: u64,
    /// When it was stored, and the message; `None`: the record is damaged.
    pub stored: Option<(SystemTime, Publish)>,
}

impl Apart {
    pub(super) fn from_row(key: u64, (since, reason, record): ApartRow<'_>) -> Self {
        Self {
            key,
            since: record::time(since),
            reason: reason.to_owned(),
            bytes: record.len() as u64,
            stored: record::decode(record),
        }
    }
}

impl Spool {
    /// Takes messages out of the line and keeps them.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], [`Refused::Unknown`].
    pub async fn set_apart(&self, keys: Vec<u64>, reason: &'static str) -> Result<(), Refused> {
        let (route, now) = (self.route.clone(), record::microseconds(SystemTime::now()));
        self.change(Effect::Frees, 0, move |tables| {
            let totals = tables.set_apart(&route, &keys, reason, now)?;
            Ok(((), Some(totals)))
        })
        .await
    }

    /// The messages set apart whose keys come after `after`, by key: at most `most` of them, and
    /// no more than `bytes` except by the last one.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], [`Refused::Unknown`].
    pub async fn apart(
        &self,
        after: Option<u64>,
        most: usize,
        bytes: u64,
    ) -> Result<Vec<Apart>, Refused> {
        let route = self.route.clone();
        let read =
            move |transaction: &_| tables::apart_page(transaction, &route, after, most, bytes);
        self.commands.read(read).await
    }

    /// One message set apart; `None`: there is none of that key.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], [`Refused::Unknown`].
    pub async fn get_apart(&self, key: u64) -> Result<Option<Apart>, Refused> {
        let route = self.route.clone();
        let read = move |transaction: &_| tables::apart(transaction, &route, key);
        self.commands.read(read).await
    }

    /// Puts messages that were set apart at the end of the line, under new keys and as if they
    /// were stored at this moment. Returns how many: keys that are not there are passed over, and
    /// damaged messages stay where they are.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], [`Refused::Unknown`].
    pub async fn return_to_line(&self, keys: Vec<u64>) -> Result<u64, Refused> {
        let (route, now) = (self.route.clone(), record::microseconds(SystemTime::now()));
        self.change(Effect::Frees, 0, move |tables| {
            let (moved, totals) = tables.return_to_line(&route, &keys, now)?;
            Ok((moved, Some(totals)))
        })
        .await
    }

    /// Deletes messages that were set apart. Returns how many there were.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], [`Refused::Unknown`].
    pub async fn discard(&self, keys: Vec<u64>) -> Result<u64, Refused> {
        let route = self.route.clone();
        self.change(Effect::Frees, 0, move |tables| {
            let (discarded, totals) = tables.discard(&route, &keys)?;
            Ok((discarded, Some(totals)))
        })
        .await
    }
}
