//! Why the store cannot be opened, and why it cannot do what it was asked.

use std::{any::Any, io, panic::PanicHookInfo, path::PathBuf};

use thiserror::Error;

/// Why the store's file was not opened. The file is as it was.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the store {} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error("{} is not a Hareway store", .0.display())]
    Foreign(PathBuf),
    #[error(
        "the store {} has format {found}; this version of Hareway reads format {expected}",
        .path.display()
    )]
    Version {
        path: PathBuf,
        found: u64,
        expected: u64,
    },
    #[error("the store {} is damaged: {reason}", .path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the store {} cannot be opened: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The route's records take all the bytes they may. Nothing was done.
    #[error("the route's part of the store is full")]
    Full,
    /// It cannot be a record, at no time. Nothing was done.
    #[error("the store cannot keep the message: {0}")]
    Unfit(&'static str),
    /// The file cannot be written or read at this time. Nothing was done.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It was begun, and its end was not seen: the disk may fail, or fall silent, after it has
    /// written. It may have been done, and may still be.
    #[error("the store gave no certain answer: {0}")]
    Unknown(String),
}

/// What a panic said.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("internal failure: {}", text.unwrap_or("unknown"))
}

/// Whether a panic is one of the engine's, by which it says that a file is damaged. The store
/// catches those and tells of them in its own words, so that nobody else needs to.
pub fn is_caught(panic: &PanicHookInfo<'_>) -> bool {
    let place = panic.location();
    place.is_some_and(|place| place.file().contains("/redb-"))
}
