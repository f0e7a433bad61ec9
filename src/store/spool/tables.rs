//! The spools' tables. The figures of a route change in the same transaction as its records, so
//! that a start need not count them.

use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{Apart, Usage};
use crate::store::record;

/// The names of the tables below.
pub(crate) const TABLES: [&str; 3] = ["spool.records", "spool.apart", "spool.totals"];
/// By route and key: the records in line.
const RECORDS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("spool.records");
/// By route and key: when it was set apart (microseconds since the Unix epoch), why, the record.
const APART: TableDefinition<'_, (&str, u64), ApartRow<'_>> = TableDefinition::new("spool.apart");
/// By route: messages, bytes, oldest, apart, bytes apart, next key.
const TOTALS: TableDefinition<'_, &str, TotalsRow> = TableDefinition::new("spool.totals");

type TotalsRow = (u64, u64, u64, u64, u64, u64);
pub(super) type ApartRow<'a> = (u64, &'a str, &'a [u8]);
type Records<'t> = Table<'t, (&'static str, u64), &'static [u8]>;

/// The figures of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    messages: u64,
    bytes: u64,
    /// Microseconds since the Unix epoch; 0 where the line is empty.
    oldest: u64,
    apart: u64,
    apart_bytes: u64,
    next: u64,
}

/// The tables of one write transaction.
pub(crate) struct Tables<'t> {
    records: Records<'t>,
    apart: Table<'t, (&'static str, u64), ApartRow<'static>>,
    totals: Table<'t, &'static str, TotalsRow>,
}

/// A stretch of the line.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) entries: Vec<super::Entry>,
    pub(super) damaged: Vec<u64>,
}

// === impl Totals ===

impl Totals {
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            messages: self.messages,
            bytes: self.bytes,
            oldest: (self.messages > 0).then(|| record::time(self.oldest)),
            apart: self.apart,
            apart_bytes: self.apart_bytes,
        }
    }

    /// Whether `more` bytes would pass `limit`. What was set apart counts: it must not grow for
    /// ever either.
    pub(super) fn is_full(&self, more: usize, limit: u64) -> bool {
        self.bytes().saturating_add(more as u64) > limit
    }

    /// Of all records, in line and apart.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.saturating_add(self.apart_bytes)
    }

    /// One message in line.
    #[cfg(test)]
    pub(crate) fn of_one(bytes: u64) -> Self {
        Self {
            messages: 1,
            bytes,
            ..Self::default()
        }
    }

    fn from_row(row: TotalsRow) -> Self {
        let (messages, bytes, oldest, apart, apart_bytes, next) = row;
        Self {
            messages,
            bytes,
            oldest,
            apart,
            apart_bytes,
            next,
        }
    }

    fn row(&self) -> TotalsRow {
        (
            self.messages,
            self.bytes,
            self.oldest,
            self.apart,
            self.apart_bytes,
            self.next,
        )
    }

    fn enter(&mut self, record: &[u8]) {
        if self.messages == 0 {
            self.oldest = record::stored_at_us(record);
        }
        self.messages += 1;
        self.bytes += record.len() as u64;
    }

    fn leave(&mut self, bytes: u64) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn leave_apart(&mut self, bytes: u64) {
        self.apart = self.apart.saturating_sub(1);
        self.apart_bytes = self.apart_bytes.saturating_sub(bytes);
    }
}

// === impl Tables ===

impl<'t> Tables<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            apart: transaction.open_table(APART)?,
            totals: transaction.open_table(TOTALS)?,
        })
    }

    /// Puts a record at the end of the line; `None`: it would pass `limit`.
    pub(super) fn append(
        &mut self,
        route: &str,
        record: &[u8],
        limit: u64,
    ) -> Result<Option<Totals>, redb::Error> {
        let mut totals = self.totals(route)?;
        if totals.is_full(record.len(), limit) {
            return Ok(None);
        }
        self.enter(route, &mut totals, record)?;
        self.save(route, totals).map(Some)
    }

    /// Takes records out of the line; keys that are not there are no error.
    pub(super) fn remove(&mut self, route: &str, keys: &[u64]) -> Result<Totals, redb::Error> {
        let mut totals = self.totals(route)?;
        for key in keys {
            if let Some(record) = self.records.remove((route, *key))? {
                totals.leave(record.value().len() as u64);
            }
        }
        self.look_at_first(route, &mut totals)?;
        self.save(route, totals)
    }

    /// Moves records out of the line.
    pub(super) fn set_apart(
        &mut self,
        route: &str,
        keys: &[u64],
        reason: &str,
        now: u64,
    ) -> Result<Totals, redb::Error> {
        let mut totals = self.totals(route)?;
        for key in keys {
            if let Some(record) = self.records.remove((route, *key))? {
                let record = record.value();
                totals.leave(record.len() as u64);
                totals.apart += 1;
                totals.apart_bytes += record.len() as u64;
                self.apart.insert((route, *key), (now, reason, record))?;
            }
        }
        self.look_at_first(route, &mut totals)?;
        self.save(route, totals)
    }

    /// Puts records that were set apart at the end of the line, as if they were stored `now`.
    /// Damaged ones stay where they are. Returns how many it moved.
    pub(super) fn return_to_line(
        &mut self,
        route: &str,
        keys: &[u64],
        now: u64,
    ) -> Result<(u64, Totals), redb::Error> {
        let mut totals = self.totals(route)?;
        let mut moved = 0;
        for key in keys {
            let record = match self.apart.get((route, *key))? {
                Some(row) => record::restamped(row.value().2, now),
                None => None,
            };
            let Some(record) = record else { continue };
            self.apart.remove((route, *key))?;
            totals.leave_apart(record.len() as u64);
            self.enter(route, &mut totals, &record)?;
            moved += 1;
        }
        Ok((moved, self.save(route, totals)?))
    }

    /// Deletes records that were set apart. Returns how many.
    pub(super) fn discard(
        &mut self,
        route: &str,
        keys: &[u64],
    ) -> Result<(u64, Totals), redb::Error> {
        let mut totals = self.totals(route)?;
        let mut discarded = 0;
        for key in keys {
            if let Some(row) = self.apart.remove((route, *key))? {
                totals.leave_apart(row.value().2.len() as u64);
                discarded += 1;
            }
        }
        Ok((discarded, self.save(route, totals)?))
    }

    fn totals(&self, route: &str) -> Result<Totals, redb::Error> {
        let row = self.totals.get(route)?;
        Ok(row.map_or_else(Totals::default, |row| Totals::from_row(row.value())))
    }

    fn save(&mut self, route: &str, totals: Totals) -> Result<Totals, redb::Error> {
        self.totals.insert(route, totals.row())?;
        Ok(totals)
    }

    fn enter(
        &mut self,
        route: &str,
        totals: &mut Totals,
        record: &[u8],
    ) -> Result<(), redb::Error> {
        self.records.insert((route, totals.next), record)?;
        totals.next += 1;
        totals.enter(record);
        Ok(())
    }

    fn look_at_first(&self, route: &str, totals: &mut Totals) -> Result<(), redb::Error> {
        let first = self
            .records
            .range((route, 0)..=(route, u64::MAX))?
            .next()
            .transpose()?;
        totals.oldest = first.map_or(0, |(_, record)| record::stored_at_us(record.value()));
        Ok(())
    }
}

// === Reading ===

/// The figures of all routes.
pub(crate) fn totals(
    transaction: &ReadTransaction,
) -> Result<Vec<(Arc<str>, Totals)>, redb::Error> {
    let mut all = Vec::new();
    for row in transaction.open_table(TOTALS)?.iter()? {
        let (route, totals) = row?;
        all.push((route.value().into(), Totals::from_row(totals.value())));
    }
    Ok(all)
}

/// The records after the key `after`, oldest first: at most `most`, and no more than `bytes`
/// except by the last one.
pub(super) fn page(
    transaction: &ReadTransaction,
    route: &str,
    after: Option<u64>,
    most: usize,
    bytes: u64,
) -> Result<Page, redb::Error> {
    let mut page = Page::default();
    let mut read = 0;
    let records = transaction.open_table(RECORDS)?;
    for row in records.range((route, start(after))..=(route, u64::MAX))? {
        if page.entries.len() + page.damaged.len() >= most || read >= bytes {
            break;
        }
        let (key, record) = row?;
        let (key, record) = (key.value().1, record.value());
        read += record.len() as u64;
        match record::decode(record) {
            Some((stored_at, publish)) => page.entries.push(super::Entry {
                key,
                stored_at,
                publish,
            }),
            None => page.damaged.push(key),
        }
    }
    Ok(page)
}

/// What was set apart, by key, as [`page`] does it.
pub(super) fn apart_page(
    transaction: &ReadTransaction,
    route: &str,
    after: Option<u64>,
    most: usize,
    bytes: u64,
) -> Result<Vec<Apart>, redb::Error> {
    let mut page = Vec::new();
    let mut read = 0;
    let apart = transaction.open_table(APART)?;
    for row in apart.range((route, start(after))..=(route, u64::MAX))? {
        if page.len() >= most || read >= bytes {
            break;
        }
        let (key, row) = row?;
        let found = Apart::from_row(key.value().1, row.value());
        read += found.bytes;
        page.push(found);
    }
    Ok(page)
}

/// One message that was set apart.
pub(super) fn apart(
    transaction: &ReadTransaction,
    route: &str,
    key: u64,
) -> Result<Option<Apart>, redb::Error> {
    let apart = transaction.open_table(APART)?;
    let row = apart.get((route, key))?;
    Ok(row.map(|row| Apart::from_row(key, row.value())))
}

/// The lowest key after `after`.
fn start(after: Option<u64>) -> u64 {
    after.map_or(0, |key| key.saturating_add(1))
}
