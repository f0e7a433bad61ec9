//! The tables of the file, and a transaction that writes to them.

use std::collections::HashSet;

use redb::{ReadTransaction, TableDefinition, TableHandle, WriteTransaction};

use super::{answers, spool};

/// By which a file is known as a Hareway store of a certain format.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("hareway");
const FORMAT: &str = "format";
/// The format that this version reads and writes.
pub(super) const FORMAT_VERSION: u64 = 1;

/// A write transaction as commands see it: the tables stay open from one to the next.
pub(super) struct Writing<'t> {
    transaction: &'t WriteTransaction,
    spool: Option<spool::Tables<'t>>,
    answers: Option<answers::Tables<'t>>,
}

impl<'t> Writing<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
        Self {
            transaction,
            spool: None,
            answers: None,
        }
    }

    pub(super) fn spool(&mut self) -> Result<&mut spool::Tables<'t>, redb::Error> {
        let tables = match self.spool.take() {
            Some(tables) => tables,
            None => spool::Tables::open(self.transaction)?,
        };
        Ok(self.spool.insert(tables))
    }

    pub(super) fn answers(&mut self) -> Result<&mut answers::Tables<'t>, redb::Error> {
        let tables = match self.answers.take() {
            Some(tables) => tables,
            None => answers::Tables::open(self.transaction)?,
        };
        Ok(self.answers.insert(tables))
    }
}

/// Whether nothing is missing of what [`create`] makes.
pub(super) fn are_there(transaction: &ReadTransaction) -> Result<bool, redb::Error> {
    let there: HashSet<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    let mut wanted = spool::TABLES.iter().chain(&answers::TABLES);
    Ok(wanted.all(|name| there.contains(*name)))
}

/// Makes every table that there is not yet, and marks the file.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction
        .open_table(META)?
        .insert(FORMAT, FORMAT_VERSION)?;
    spool::Tables::open(transaction)?;
    answers::Tables::open(transaction)?;
    Ok(())
}

/// The format of the file; `None`: it is no store.
pub(super) fn format(transaction: &ReadTransaction) -> Result<Option<u64>, redb::Error> {
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    Ok(meta.get(FORMAT)?.map(|found| found.value()))
}
