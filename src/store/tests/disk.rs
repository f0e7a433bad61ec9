//! A disk in memory: it remembers every write and sync, can be cut off at any of them, and can be
//! full or broken.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use redb::StorageBackend;

use crate::store::{
    Store, StoreError,
    file::{Place, initialise},
    reserve::Reserve,
};

const SECTOR: usize = 512;
const BLOCK: u64 = 4096;
/// Blocks.
const RESERVE: usize = 256;

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    image: Vec<u8>,
    /// Since the last [`Disk::forget`].
    log: Vec<Change>,
    /// The blocks that have been written to, ever.
    blocks: HashSet<u64>,
    /// Blocks that are taken by the reserve.
    reserved: usize,
    trouble: Trouble,
}

/// The reserve of a store on a disk.
struct Kept(Disk);

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// The file cannot be made longer than this, as under a limit for files.
    Limit(u64),
    /// There is room for no more than so many blocks, as on a file system that is full: a file may
    /// be longer than what has been written to it.
    Room(usize),
    /// Nothing can be written.
    ReadOnly,
    /// Nothing can be read or written.
    Broken,
}

impl Disk {
    /// With an empty store on it.
    pub(super) fn new() -> Self {
        let disk = Self::default();
        initialise(disk.clone()).unwrap();
        disk
    }

    pub(super) fn of(image: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.content().image = image;
        disk
    }

    pub(super) fn store(&self) -> Result<Store, StoreError> {
        let disk = self.clone();
        let path = PathBuf::from("a disk in memory");
        let open = move |_: &Path| -> io::Result<Box<dyn StorageBackend>> {
            disk.read_check()?;
            Ok(Box::new(disk.clone()))
        };
        let mut place = Place::new(path, open, Kept(self.clone()));
        // These files are small, and should be made shorter all the same.
        place.spacious = 0;
        Store::start(place)
    }

    pub(super) fn size(&self) -> u64 {
        self.content().image.len() as u64
    }

    /// Forgets the writes up to now, and returns what they have made.
    pub(super) fn forget(&self) -> Vec<u8> {
        let mut content = self.content();
        content.log.clear();
        content.image.clone()
    }

    pub(super) fn log(&self) -> Vec<Change> {
        self.content().log.clone()
    }

    /// How many blocks are taken.
    pub(super) fn blocks(&self) -> usize {
        let content = self.content();
        content.blocks.len() + content.reserved
    }

    pub(super) fn set_trouble(&self, trouble: Trouble) {
        self.content().trouble = trouble;
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn read_check(&self) -> io::Result<()> {
        match self.content().trouble {
            Trouble::Broken => Err(io::Error::other("the disk is broken")),
            _ => Ok(()),
        }
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut content = self.content();
        let end = match &change {
            Change::Write(offset, data) => offset + data.len() as u64,
            Change::SetLen(length) => *length,
            Change::Sync => 0,
        };
        match content.trouble {
            Trouble::Limit(limit) if end > limit => {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Trouble::ReadOnly => return Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Trouble::Broken => return Err(io::Error::other("the disk is broken")),
            Trouble::None | Trouble::Limit(_) | Trouble::Room(_) => {}
        }
        if let Change::Write(offset, _) = &change {
            let blocks: Vec<u64> = (offset / BLOCK..end.div_ceil(BLOCK)).collect();
            let new = blocks
                .iter()
                .filter(|block| !content.blocks.contains(block));
            let new = new.count();
            match content.trouble {
                Trouble::Room(room)
                    if new > 0 && content.blocks.len() + content.reserved + new > room =>
                {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                _ => content.blocks.extend(blocks),
            }
        }
        change.apply(&mut content.image);
        content.log.push(change);
        Ok(())
    }
}

impl Reserve for Kept {
    fn keep(&self) -> io::Result<()> {
        let mut content = self.0.content();
        match content.trouble {
            Trouble::Room(room) if content.blocks.len() + RESERVE > room => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => {
                content.reserved = RESERVE;
                Ok(())
            }
        }
    }

    fn release(&self) {
        self.0.content().reserved = 0;
    }
}

impl Change {
    pub(super) fn apply(&self, image: &mut Vec<u8>) {
        self.apply_some(image, |_| true);
    }

    /// As a crash may leave it: sector by sector, as `keep` says.
    pub(super) fn apply_some(&self, image: &mut Vec<u8>, mut keep: impl FnMut(usize) -> bool) {
        match self {
            Self::Write(offset, data) => {
                let offset = usize::try_from(*offset).unwrap();
                if image.len() < offset + data.len() {
                    image.resize(offset + data.len(), 0);
                }
                for (sector, part) in data.chunks(SECTOR).enumerate() {
                    let at = offset + sector * SECTOR;
                    if keep(sector) {
                        image[at..at + part.len()].copy_from_slice(part);
                    }
                }
            }
            Self::SetLen(length) => image.resize(usize::try_from(*length).unwrap(), 0),
            Self::Sync => {}
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.read_check()?;
        Ok(self.size())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_check()?;
        let offset = usize::try_from(offset).unwrap();
        let content = self.content();
        let found = content.image.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Change::SetLen(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Change::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }
}
