//! `hareway check`: everything that is wrong, and what each route does.

use std::{fmt::Write, process::ExitCode};

use super::{USAGE, output, sources};
use crate::config::{Described, Loaded};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: sources::Arguments,
    /// Fail on warnings too.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn command(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = match arguments.sources.load() {
        Ok(loaded) => loaded,
        Err(found) => return Ok(sources::refuse(&found)),
    };
    eprint!("{}", loaded.warnings);
    if arguments.deny_warnings && !loaded.warnings.is_empty() {
        return Ok(ExitCode::from(USAGE));
    }
    output::print(&summary(&loaded))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(loaded: &Loaded) -> String {
    let mut text = String::new();
    for route in &loaded.config.routes {
        // Writing to a text cannot fail.
        writeln!(text, "{}", Described::new(route)).unwrap_or_default();
    }
    let routes = count(loaded.config.routes.len(), "route");
    let warnings = count(loaded.warnings.iter().count(), "warning");
    format!("{text}OK: {routes}, {warnings}\n")
}

fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
