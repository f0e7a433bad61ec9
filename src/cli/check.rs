//! `hareway check`: everything that is wrong, and what each route does.

use std::{fmt::Write, process::ExitCode};

use anyhow::Context;

use super::{USAGE, output, sources};
use crate::{
    amqp,
    config::{Described, Loaded, model::Amqp},
};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: sources::Arguments,
    /// Fail on warnings too.
    #[arg(long)]
    deny_warnings: bool,
    /// Connect to the broker too.
    #[arg(long)]
    connect: bool,
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
    if arguments.connect {
        connect(&loaded.config.amqp)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn connect(config: &Amqp) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let broker = runtime
        .block_on(amqp::probe(config))
        .context("cannot connect to the broker")?;
    output::print(&format!("OK: connected to {broker}\n"))
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
