//! The file: how it is made, recognised and opened.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition};

use super::{
    StoreError, answers, spool,
    state::Figures,
    tables::{self, FORMAT_VERSION},
};

const NAME: &str = "hareway.redb";
/// Pages of the database that are kept in memory. Small: records are read once, in order.
const CACHE_BYTES: usize = 16 << 20;
/// Written and removed to see whether the disk takes anything. More than a full disk has room for
/// by accident.
const PROBE_BYTES: usize = 256 << 10;
const PROBE: TableDefinition<'_, (), &[u8]> = TableDefinition::new("probe");

/// Where the database is.
pub(super) struct Place {
    path: PathBuf,
}

/// A database, and its figures.
pub(super) type Opened = (Database, Figures);

impl Place {
    /// The store's file in `folder`, which is made where it is missing.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(NAME);
        match fs::create_dir_all(folder) {
            Ok(()) => Ok(Self { path }),
            Err(error) => Err(StoreError::Io { path, error }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the database and makes what is missing in it.
    pub(super) fn open(&self) -> Result<Opened, StoreError> {
        let is_new = !self.path.try_exists().map_err(|error| self.io(error))?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(&self.path)
            .map_err(|error| self.refusal(error))?;
        let found = self.look(&database)?;
        match found {
            Some(FORMAT_VERSION) => {}
            None if is_new => {}
            None => return Err(StoreError::Foreign(self.path.clone())),
            Some(found) => {
                return Err(StoreError::Version {
                    path: self.path.clone(),
                    found,
                    expected: FORMAT_VERSION,
                });
            }
        }
        let figures = prepare(&database).map_err(|error| self.error(error))?;
        Ok((database, figures))
    }

    fn look(&self, database: &Database) -> Result<Option<u64>, StoreError> {
        let transaction = database
            .begin_read()
            .map_err(|error| self.error(error.into()))?;
        tables::format(&transaction).map_err(|error| self.error(error))
    }

    fn refusal(&self, error: DatabaseError) -> StoreError {
        let path = self.path.clone();
        match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Locked(path),
            DatabaseError::UpgradeRequired(_) => StoreError::Foreign(path),
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                StoreError::Foreign(path)
            }
            other => self.error(other.into()),
        }
    }

    fn error(&self, error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) => self.io(error),
            other => StoreError::Damaged {
                path: self.path.clone(),
                reason: other.to_string(),
            },
        }
    }

    fn io(&self, error: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            error,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

fn prepare(database: &Database) -> Result<Figures, redb::Error> {
    let transaction = database.begin_write()?;
    tables::create(&transaction)?;
    let figures = Figures {
        spools: spool::Tables::open(&transaction)?.all()?,
        answers: answers::Tables::open(&transaction)?.all()?,
    };
    transaction.commit()?;
    Ok(figures)
}

/// Writes as much as shows that there is room, and takes it away again.
pub(super) fn probe(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(PROBE)?
        .insert((), [0; PROBE_BYTES].as_slice())?;
    transaction.commit()?;
    let transaction = database.begin_write()?;
    transaction.delete_table(PROBE)?;
    transaction.commit()?;
    Ok(())
}
