//! From files to a configuration that can run.

use std::path::PathBuf;

use super::{
    Config, compile,
    diagnostic::Diagnostics,
    raw::{self, Environment},
};

/// Where a configuration comes from: each source is laid over those before it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub files: Vec<PathBuf>,
    /// `KEY=VALUE`, over all files.
    pub set: Vec<String>,
}

/// A configuration without errors.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Diagnostics,
}

/// Reads, interpolates and compiles.
///
/// # Errors
/// Everything that was found, warnings included, where an error is among it.
pub fn load(sources: &Sources, env: &dyn Environment) -> Result<Loaded, Diagnostics> {
    let mut found = Diagnostics::default();
    let root = raw::load(&sources.files, &sources.set, env, &mut found);
    let config = root.and_then(|root| compile::compile(&root, &mut found));
    match config {
        Some(config) if !found.has_errors() => Ok(Loaded {
            config,
            warnings: found,
        }),
        Some(_) | None => Err(found),
    }
}
