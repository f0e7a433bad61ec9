//! Room on the disk that is kept for bad times: taking messages out of a store writes as well, and
//! must be possible when the disk is full.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Enough to take out a batch of messages, after which there is room in the file itself.
const BYTES: usize = 1 << 20;

pub(super) trait Reserve: Send {
    /// Takes the room, where it is not taken.
    fn keep(&self) -> io::Result<()>;
    /// Gives it back to the disk.
    fn release(&self);
}

/// A file of no meaning.
pub(super) struct Ballast(PathBuf);

impl Ballast {
    /// Beside the store's file.
    pub(super) fn beside(store: &Path) -> Self {
        Self(store.with_extension("reserve"))
    }

    fn write(&self) -> io::Result<()> {
        // Zeros would take no room where the file system compresses.
        let mut noise = vec![0; BYTES];
        fastrand::fill(&mut noise);
        let mut file = File::create(&self.0)?;
        file.write_all(&noise)?;
        file.sync_all()
    }
}

impl Reserve for Ballast {
    fn keep(&self) -> io::Result<()> {
        let length = fs::metadata(&self.0).map(|file| file.len());
        if length.is_ok_and(|length| length == BYTES as u64) {
            return Ok(());
        }
        self.write().inspect_err(|_| self.release())
    }

    fn release(&self) {
        // Where it cannot be removed, it helps nobody, and there is nothing else to try.
        drop(fs::remove_file(&self.0));
    }
}
