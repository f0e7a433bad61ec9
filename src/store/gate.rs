//! A gate between the database and its file, so that a file which turns out not to be a store
//! stays as it is, byte for byte.
//!
//! Opening a database writes: it marks the file as open, and repairs it after a crash. Until the
//! gate is opened these writes are held in memory, and reading sees them. Once the file is known to
//! be a store they are made in their order, and later ones go straight through.

use std::{
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend};

#[derive(Debug)]
pub(super) struct Gate(Arc<Shared>);

/// Opens the gate, and tells the length of the file.
#[derive(Debug)]
pub(super) struct Key(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Box<dyn StorageBackend>,
    /// `None`: the gate is open.
    held: Mutex<Option<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    changes: Vec<Change>,
    length: u64,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

impl Gate {
    /// A closed gate before `file`.
    pub(super) fn new(file: Box<dyn StorageBackend>) -> io::Result<(Self, Key)> {
        let held = Held {
            length: file.len()?,
            ..Held::default()
        };
        let shared = Arc::new(Shared {
            file,
            held: Mutex::new(Some(held)),
        });
        Ok((Self(shared.clone()), Key(shared)))
    }
}

impl Key {
    /// Makes the writes that were held. Where one of them fails the gate stays closed: the database
    /// takes them for made, and would mark the file as whole when it is dropped.
    pub(super) fn open(&self) -> io::Result<()> {
        let mut held = self.0.held();
        for change in held.iter().flat_map(|held| &held.changes) {
            match change {
                Change::Write(offset, data) => self.0.file.write(*offset, data)?,
                Change::SetLen(length) => self.0.file.set_len(*length)?,
                Change::Sync => self.0.file.sync_data()?,
            }
        }
        *held = None;
        Ok(())
    }

    /// Bytes of the file, with those that nothing was ever written to.
    pub(super) fn length(&self) -> io::Result<u64> {
        self.0.file.len()
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Reads the file as if the changes had been made.
    fn read(&self, file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        let cut = |change: &Change| match change {
            Change::SetLen(length) => Some(*length),
            _ => None,
        };
        let cuts = self.changes.iter().filter_map(cut);
        let original = cuts.min().unwrap_or(u64::MAX).min(file.len()?);
        if let Some(part) = part(out, offset, 0, original) {
            file.read(offset, part)?;
        }
        for change in &self.changes {
            match change {
                Change::Write(at, data) => {
                    let from = offset.saturating_sub(*at);
                    let data = usize::try_from(from).ok().and_then(|from| data.get(from..));
                    if let (Some(part), Some(data)) = (part(out, offset, *at, u64::MAX), data) {
                        part.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
                    }
                }
                Change::SetLen(length) => {
                    if let Some(part) = part(out, offset, *length, u64::MAX) {
                        part.fill(0);
                    }
                }
                Change::Sync => {}
            }
        }
        Ok(())
    }
}

/// The part of `out`, which stands for the bytes from `offset` on, that lies in `from..to`.
fn part(out: &mut [u8], offset: u64, from: u64, to: u64) -> Option<&mut [u8]> {
    let start = usize::try_from(from.saturating_sub(offset)).ok()?;
    let end = usize::try_from(to.saturating_sub(offset)).unwrap_or(usize::MAX);
    let end = end.min(out.len());
    out.get_mut(start..end).filter(|part| !part.is_empty())
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        match &*self.0.held() {
            Some(held) => Ok(held.length),
            None => self.0.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.0.held() {
            Some(held) => held.read(&*self.0.file, offset, out),
            None => self.0.file.read(offset, out),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        match &mut *self.0.held() {
            Some(held) => {
                held.length = length;
                held.changes.push(Change::SetLen(length));
                Ok(())
            }
            None => self.0.file.set_len(length),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match &mut *self.0.held() {
            Some(held) => {
                held.changes.push(Change::Sync);
                Ok(())
            }
            None => self.0.file.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &mut *self.0.held() {
            Some(held) => {
                held.length = held.length.max(offset + data.len() as u64);
                held.changes.push(Change::Write(offset, data.to_vec()));
                Ok(())
            }
            None => self.0.file.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    /// Refuses what is written to this place, as a disk does that has no room for a new block.
    const NO_ROOM: u64 = 8;

    #[derive(Debug)]
    struct Full(InMemoryBackend);

    impl StorageBackend for Full {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.0.set_len(length)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            match offset {
                NO_ROOM => Err(io::ErrorKind::StorageFull.into()),
                _ => self.0.write(offset, data),
            }
        }
    }

    #[test]
    fn nothing_follows_a_write_that_failed() {
        let file = Full(InMemoryBackend::new());
        file.set_len(16).unwrap();
        let (gate, key) = Gate::new(Box::new(file)).unwrap();
        gate.write(0, b"1").unwrap();
        gate.write(NO_ROOM, b"2").unwrap();
        key.open().unwrap_err();
        gate.write(1, b"3").unwrap();
        gate.sync_data().unwrap();
        let mut found = [0; 2];
        key.0.file.read(0, &mut found).unwrap();
        assert_eq!(found, *b"1\0");
    }
}
