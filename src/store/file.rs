//! The file: how it is made, recognised and opened.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError,
    TableDefinition, backends::FileBackend,
};

use uuid::Uuid;

use super::{
    StoreError, answers,
    error::panicked,
    gate::{Gate, Key},
    reserve::{Ballast, Reserve},
    spool,
    state::Figures,
    tables::{self, FORMAT_VERSION},
};

const NAME: &str = "hareway.redb";
/// Pages of the database that are kept in memory. Small: records are read once, in order.
const CACHE_BYTES: usize = 16 << 20;
/// The default of [`Place::spacious`].
const SPACIOUS: u64 = 16 << 20;
/// Written and removed to see whether the disk takes anything. More than a full disk has room for
/// by accident.
const PROBE_BYTES: usize = 256 << 10;
const PROBE: TableDefinition<'_, (), &[u8]> = TableDefinition::new("probe");

type Backend = Box<dyn StorageBackend>;
type OpenBackend = Box<dyn Fn(&Path) -> io::Result<Backend> + Send>;

/// Where the database is.
pub(super) struct Place {
    path: PathBuf,
    open: OpenBackend,
    pub(super) reserve: Box<dyn Reserve>,
    /// A file that is shorter is not worth being made shorter.
    pub(super) spacious: u64,
}

/// A database, and its figures.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) file: Key,
    pub(super) figures: Figures,
}

impl Place {
    /// Where the store's file is, if there is one.
    pub(super) fn path_in(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// The store's file in `folder`. Both are made where they are missing.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, StoreError> {
        let path = Self::path_in(folder);
        let reserve = Ballast::beside(&path);
        let place = Self::new(path, open_file, reserve);
        place.make(folder).map_err(|error| place.error(error))?;
        Ok(place)
    }

    /// A place of which `open` gives the bytes; they are a store already.
    pub(super) fn new(
        path: PathBuf,
        open: impl Fn(&Path) -> io::Result<Backend> + Send + 'static,
        reserve: impl Reserve + 'static,
    ) -> Self {
        Self {
            path,
            open: Box::new(open),
            reserve: Box::new(reserve),
            spacious: SPACIOUS,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the database, and makes what tables are missing in it.
    pub(super) fn open(&self) -> Result<Opened, StoreError> {
        // The database engine takes some kinds of damage for its own mistakes.
        catch_unwind(AssertUnwindSafe(|| self.try_open())).unwrap_or_else(|panic| {
            Err(StoreError::Damaged {
                path: self.path.clone(),
                reason: panicked(panic.as_ref()),
            })
        })
    }

    fn try_open(&self) -> Result<Opened, StoreError> {
        let file = (self.open)(&self.path).map_err(|error| self.io(error))?;
        // The database would make itself at home in an empty file.
        if file.len().map_err(|error| self.io(error))? == 0 {
            return Err(StoreError::Foreign(self.path.clone()));
        }
        let (gate, key) = Gate::new(file).map_err(|error| self.io(error))?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(gate)
            .map_err(|error| self.refusal(error))?;
        match format(&database).map_err(|error| self.error(error))? {
            Some(FORMAT_VERSION) => {}
            Some(found) => {
                return Err(StoreError::Version {
                    path: self.path.clone(),
                    found,
                    expected: FORMAT_VERSION,
                });
            }
            None => return Err(StoreError::Foreign(self.path.clone())),
        }
        key.open().map_err(|error| self.io(error))?;
        let figures = prepare(&database).map_err(|error| self.error(error))?;
        Ok(Opened {
            database,
            file: key,
            figures,
        })
    }

    /// Makes an empty store where there is none. It gets its name when it is complete, and never
    /// takes the name from another: two processes may start at once.
    fn make(&self, folder: &Path) -> Result<(), redb::Error> {
        fs::create_dir_all(folder)?;
        if self.path.try_exists()? {
            return Ok(());
        }
        let draft = self.path.with_extension(Uuid::new_v4().to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&draft)?;
        let made = FileBackend::new(file)
            .map_err(redb::Error::from)
            .and_then(initialise)
            .and_then(|()| Ok(self.name(&draft)?));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => made?,
        }
        Ok(File::open(folder)?.sync_all()?)
    }

    fn name(&self, draft: &Path) -> io::Result<()> {
        match fs::hard_link(draft, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Some file systems have no hard links. Renaming is as good, as long as nobody else
            // starts at the same moment.
            Err(_) if !self.path.try_exists()? => fs::rename(draft, &self.path),
            other => other,
        }
    }

    // === Errors ===

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
            // The file ends before its head says.
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                let reason = "it is cut short".to_owned();
                StoreError::Damaged { path, reason }
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

/// Makes an empty store of an empty file.
pub(super) fn initialise(file: impl StorageBackend) -> Result<(), redb::Error> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(file)?;
    let transaction = database.begin_write()?;
    tables::create(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// Writes as much as shows that there is room, and takes it away again.
pub(super) fn probe(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(PROBE)?
        .insert((), vec![0; PROBE_BYTES].as_slice())?;
    transaction.commit()?;
    let transaction = database.begin_write()?;
    transaction.delete_table(PROBE)?;
    transaction.commit()?;
    Ok(())
}

fn open_file(path: &Path) -> io::Result<Backend> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    match FileBackend::new(file) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    tables::format(&database.begin_read()?)
}

/// Writes only where a table is missing: a full disk must not keep the store from being opened.
fn prepare(database: &Database) -> Result<Figures, redb::Error> {
    if !tables::are_there(&database.begin_read()?)? {
        let transaction = database.begin_write()?;
        tables::create(&transaction)?;
        transaction.commit()?;
    }
    let transaction = database.begin_read()?;
    Ok(Figures {
        spools: spool::totals(&transaction)?,
        answers: answers::kept(&transaction)?,
    })
}
