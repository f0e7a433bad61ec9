//! The arguments of every command that reads a configuration.

use std::{path::PathBuf, process::ExitCode};

use clap::ValueHint;

use super::USAGE;
use crate::config::{
    self, Loaded, Sources,
    raw::{Environment, ProcessEnvironment, parse_env_file},
};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Arguments {
    /// A configuration file; repeated, each is laid over those before it.
    #[arg(short, long = "config", value_name = "FILE", default_value = "hareway.yaml", value_hint = ValueHint::FilePath)]
    config: Vec<PathBuf>,
    /// Set one key over all files, such as `http.listen=127.0.0.1:8081`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Take variables from this file where the environment has none.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    env_file: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn sources(&self) -> Sources {
        Sources {
            files: self.config.clone(),
            set: self.set.clone(),
        }
    }

    /// The configuration, or what is wrong with it: as text, ending in a line break.
    pub(super) fn load(&self) -> Result<Loaded, String> {
        let env = self
            .environment()
            .map_err(|error| format!("error: {error}\n"))?;
        config::load(&self.sources(), &env).map_err(|found| found.to_string())
    }

    fn environment(&self) -> Result<ProcessEnvironment, String> {
        let mut env = ProcessEnvironment::default();
        if let Some(path) = &self.env_file {
            let shown = path.display();
            let text = env.read_file(path);
            let text = text.map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
            env.extra = parse_env_file(&text).map_err(|error| format!("`{shown}`: {error}"))?;
        }
        Ok(env)
    }
}

/// Says what is wrong with a configuration, and ends.
pub(super) fn refuse(found: &str) -> ExitCode {
    eprint!("{found}");
    ExitCode::from(USAGE)
}
