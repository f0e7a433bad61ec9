//! The tables of keys and answers. The figures of a route change in the same transaction as its
//! records, so that a start need not count them.

use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use tracing::error;

use super::{Answer, Begin, Begun, Digest, Kept, record::Record};
use crate::store::record::microseconds;

/// The names of the tables below.
pub(crate) const TABLES: [&str; 3] = ["answers", "answers.expiry", "answers.kept"];
/// By route and key: the record.
const ANSWERS: TableDefinition<'_, (&str, &Digest), &[u8]> = TableDefinition::new("answers");
/// By route, time in microseconds since the Unix epoch, and key: what expires then.
const EXPIRY: TableDefinition<'_, (&str, u64, &Digest), ()> =
    TableDefinition::new("answers.expiry");
/// By route: keys and bytes.
const KEPT: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("answers.kept");

/// What a record takes beside itself: its key, and its row among those that expire.
const OVERHEAD: usize = 72;
/// A smaller record is counted as this much, so that a begun key has room for an ordinary answer.
const ROOM: usize = 256;
const LOW: Digest = [0; 32];
const HIGH: Digest = [0xff; 32];
/// The most records that make way for one.
const MAKE_WAY: usize = 64;

/// The tables of one write transaction.
pub(crate) struct Tables<'t> {
    answers: Table<'t, (&'static str, &'static Digest), &'static [u8]>,
    expiry: Table<'t, (&'static str, u64, &'static Digest), ()>,
    kept: Table<'t, &'static str, (u64, u64)>,
}

/// What became of a change; `None`: there is no room for it.
pub(super) type Changed<T> = (Option<T>, Kept);

/// What a sweep came to.
pub(super) struct Swept {
    /// The figures of the routes where something was forgotten.
    pub(super) changed: Vec<(Arc<str>, Kept)>,
    /// It forgot as much as it might, so that there may be more.
    pub(super) more: bool,
}

impl<'t> Tables<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            answers: transaction.open_table(ANSWERS)?,
            expiry: transaction.open_table(EXPIRY)?,
            kept: transaction.open_table(KEPT)?,
        })
    }

    /// Looks a key up, and begins it where it is new.
    pub(super) fn begin(
        &mut self,
        route: &str,
        begin: &Begin,
        limit: u64,
    ) -> Result<Changed<Begun>, redb::Error> {
        let now = microseconds(begin.now);
        let mut kept = self.kept(route)?;
        if let Some(record) = self.find(route, &begin.key, &mut kept)? {
            if record.expires > now {
                return Ok((Some(known(record, &begin.fingerprint)), kept));
            }
            self.forget(route, &begin.key, &mut kept)?;
        }
        let record = Record {
            expires: microseconds(begin.now + begin.ttl).max(now.saturating_add(1)),
            fingerprint: begin.fingerprint,
            message_id: begin.message_id.clone(),
            answer: None,
        };
        let bytes = record.encode().unwrap_or_default();
        self.make_way(route, cost(&bytes), limit, now, &mut kept)?;
        let begun = kept.has_room(cost(&bytes), limit);
        if begun {
            self.answers.insert((route, &begin.key), &*bytes)?;
            self.expiry
                .insert((route, record.expires, &begin.key), ())?;
            kept.enter(cost(&bytes));
        }
        self.save(route, kept)?;
        Ok((begun.then_some(Begun::First), kept))
    }

    /// Gives a begun key its answer. A key that has gone meanwhile, or is another call's, is no
    /// error.
    pub(super) fn finish(
        &mut self,
        route: &str,
        key: &Digest,
        message_id: &str,
        answer: Answer,
        (limit, now): (u64, u64),
    ) -> Result<Changed<()>, redb::Error> {
        let mut kept = self.kept(route)?;
        let record = self.find(route, key, &mut kept)?;
        let Some(mut record) = record.filter(|record| record.is_open(message_id)) else {
            return Ok((Some(()), kept));
        };
        let before = record.encode().map_or(0, |bytes| cost(&bytes));
        record.answer = Some(answer);
        let Some(bytes) = record.encode() else {
            return Ok((None, kept));
        };
        let more = cost(&bytes).saturating_sub(before);
        // It might make way for itself: then there is nothing left to finish.
        self.make_way(route, more, limit, now.min(record.expires - 1), &mut kept)?;
        let fits = kept.has_room(more, limit);
        if fits {
            self.answers.insert((route, key), &*bytes)?;
            kept.bytes = kept.bytes.saturating_sub(before) + cost(&bytes);
        }
        self.save(route, kept)?;
        Ok((fits.then_some(()), kept))
    }

    /// Forgets a begun key.
    pub(super) fn release(
        &mut self,
        route: &str,
        key: &Digest,
        message_id: &str,
    ) -> Result<Kept, redb::Error> {
        let mut kept = self.kept(route)?;
        let record = self.find(route, key, &mut kept)?;
        if record.is_some_and(|record| record.is_open(message_id)) {
            self.forget(route, key, &mut kept)?;
        }
        self.save(route, kept)
    }

    /// Forgets at most `most` of what has expired, over all routes.
    pub(super) fn sweep(&mut self, now: u64, most: usize) -> Result<Swept, redb::Error> {
        let mut changed = Vec::new();
        let mut left = most;
        for (route, mut kept) in rows(&self.kept)? {
            let swept = self.expire(&route, now, left, &mut kept)?;
            if swept > 0 {
                changed.push((route.clone(), self.save(&route, kept)?));
                left -= swept;
            }
        }
        let more = left == 0;
        Ok(Swept { changed, more })
    }

    // === Helpers ===

    fn make_way(
        &mut self,
        route: &str,
        more: u64,
        limit: u64,
        now: u64,
        kept: &mut Kept,
    ) -> Result<(), redb::Error> {
        if !kept.has_room(more, limit) {
            self.expire(route, now, MAKE_WAY, kept)?;
        }
        Ok(())
    }

    /// Forgets the route's oldest records that expire at `now` or before.
    fn expire(
        &mut self,
        route: &str,
        now: u64,
        most: usize,
        kept: &mut Kept,
    ) -> Result<usize, redb::Error> {
        let mut due = Vec::new();
        let range = self.expiry.range((route, 0, &LOW)..=(route, now, &HIGH))?;
        for row in range.take(most) {
            let (row, _) = row?;
            let (_, expires, key) = row.value();
            due.push((expires, *key));
        }
        for (expires, key) in &due {
            self.expiry.remove((route, *expires, key))?;
            // A damaged record may have been replaced by one that expires later.
            let replaced = self.answers.get((route, key))?.is_some_and(|bytes| {
                let record = bytes.value();
                Record::expires_of(record) != Some(*expires) && Record::decode(record).is_some()
            });
            if !replaced {
                self.drop_answer(route, key, kept)?;
            }
        }
        Ok(due.len())
    }

    /// The record of a key. One that cannot be read is dropped, and the key is new again: better
    /// one message twice than a call that can never be made.
    fn find(
        &mut self,
        route: &str,
        key: &Digest,
        kept: &mut Kept,
    ) -> Result<Option<Record>, redb::Error> {
        let found = match self.answers.get((route, key))? {
            Some(bytes) => Record::decode(bytes.value()),
            None => return Ok(None),
        };
        if found.is_none() {
            error!(route, "a damaged idempotency record was dropped");
            self.drop_answer(route, key, kept)?;
            self.save(route, *kept)?;
        }
        Ok(found)
    }

    fn forget(&mut self, route: &str, key: &Digest, kept: &mut Kept) -> Result<(), redb::Error> {
        if let Some(record) = self.find(route, key, kept)? {
            self.expiry.remove((route, record.expires, key))?;
            self.drop_answer(route, key, kept)?;
        }
        Ok(())
    }

    fn drop_answer(
        &mut self,
        route: &str,
        key: &Digest,
        kept: &mut Kept,
    ) -> Result<(), redb::Error> {
        if let Some(bytes) = self.answers.remove((route, key))? {
            kept.leave(cost(bytes.value()));
        }
        Ok(())
    }

    fn kept(&self, route: &str) -> Result<Kept, redb::Error> {
        let row = self.kept.get(route)?;
        Ok(row.map_or_else(Kept::default, |row| Kept::from_row(row.value())))
    }

    /// What a failing disk might do to a record.
    #[cfg(test)]
    pub(super) fn overwrite(
        &mut self,
        route: &str,
        key: &Digest,
        record: &[u8],
    ) -> Result<(), redb::Error> {
        self.answers.insert((route, key), record)?;
        Ok(())
    }

    fn save(&mut self, route: &str, kept: Kept) -> Result<Kept, redb::Error> {
        self.kept.insert(route, (kept.keys, kept.bytes))?;
        Ok(kept)
    }
}

/// The figures of all routes.
pub(crate) fn kept(transaction: &ReadTransaction) -> Result<Vec<(Arc<str>, Kept)>, redb::Error> {
    rows(&transaction.open_table(KEPT)?)
}

fn rows(
    kept: &impl ReadableTable<&'static str, (u64, u64)>,
) -> Result<Vec<(Arc<str>, Kept)>, redb::Error> {
    let mut all = Vec::new();
    for row in kept.iter()? {
        let (route, kept) = row?;
        all.push((route.value().into(), Kept::from_row(kept.value())));
    }
    Ok(all)
}

/// Whether anything of any route has expired at `now`.
pub(super) fn is_due(transaction: &ReadTransaction, now: u64) -> Result<bool, redb::Error> {
    let expiry = transaction.open_table(EXPIRY)?;
    for row in transaction.open_table(KEPT)?.iter()? {
        let (route, _) = row?;
        let route = route.value();
        let mut due = expiry.range((route, 0, &LOW)..=(route, now, &HIGH))?;
        if due.next().transpose()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is known of a key, without beginning it; `None`: nothing, or nothing any more.
pub(super) fn look(
    transaction: &ReadTransaction,
    route: &str,
    begin: &Begin,
) -> Result<Option<Begun>, redb::Error> {
    let answers = transaction.open_table(ANSWERS)?;
    let found = answers.get((route, &begin.key))?;
    let record = found.and_then(|bytes| Record::decode(bytes.value()));
    Ok(record
        .filter(|record| record.expires > microseconds(begin.now))
        .map(|record| known(record, &begin.fingerprint)))
}

fn known(record: Record, fingerprint: &Digest) -> Begun {
    if record.fingerprint != *fingerprint {
        return Begun::Conflict;
    }
    match record.answer {
        Some(answer) => Begun::Answered(answer),
        None => Begun::Unanswered(record.message_id),
    }
}

fn cost(record: &[u8]) -> u64 {
    (OVERHEAD + record.len().max(ROOM)) as u64
}

impl Record {
    /// Whether it waits for the answer of the call with this message.
    fn is_open(&self, message_id: &str) -> bool {
        self.answer.is_none() && self.message_id.as_str() == message_id
    }
}

impl Kept {
    fn from_row((keys, bytes): (u64, u64)) -> Self {
        Self { keys, bytes }
    }

    fn has_room(&self, more: u64, limit: u64) -> bool {
        self.bytes.saturating_add(more) <= limit
    }

    fn enter(&mut self, bytes: u64) {
        self.keys += 1;
        self.bytes += bytes;
    }

    fn leave(&mut self, bytes: u64) {
        self.keys = self.keys.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
