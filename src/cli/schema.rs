//! `hareway schema`: the language itself, for editors and for people.

use std::process::ExitCode;

use super::output;
use crate::config::{reference, schema};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print the reference in Markdown instead.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn command(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let text = if arguments.markdown {
        reference::markdown()
    } else {
        format!("{:#}\n", schema::schema())
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
