//! From YAML to values that cannot be wrong, with every mistake explained.

pub mod compile;
pub mod diagnostic;
mod excerpt;
mod keys;
mod mask;
pub mod model;
pub mod names;
pub mod paths;
pub mod raw;

use std::path::PathBuf;

use diagnostic::Diagnostics;
use raw::Environment;

pub use model::Config;

/// Where a configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The layers, each laid over those before it.
    pub files: Vec<PathBuf>,
    /// `PATH=VALUE`, laid over the files.
    pub set: Vec<String>,
}

/// A valid configuration, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Diagnostics,
}

/// Reads, interpolates and compiles.
///
/// # Errors
/// Every mistake that was found, and every doubt.
pub fn load(sources: &Sources, environment: &dyn Environment) -> Result<Loaded, Diagnostics> {
    let mut found = Diagnostics::default();
    let root = raw::load(&sources.files, &sources.set, environment, &mut found);
    let config = root.and_then(|root| compile::compile(&root, &mut found));
    match config {
        Some(config) if !found.has_errors() => Ok(Loaded {
            config,
            warnings: found,
        }),
        Some(_) | None => Err(found),
    }
}
