//! `hareway parked`: the messages that wait for a person.

mod discard;
mod list;
mod progress;
mod replay;
mod selection;
mod show;
mod work;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List parked messages; they stay where they are.
    List(list::Arguments),
    /// Show messages whole: properties, headers and body; they stay where they are.
    Show(show::Arguments),
    /// Publish messages again, each taken off its queue once its copy is confirmed.
    Replay(replay::Arguments),
    /// Take messages off their queue for good.
    Discard(discard::Arguments),
}

pub(super) fn command(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(arguments) => list::command(arguments),
        Command::Show(arguments) => show::command(arguments),
        Command::Replay(arguments) => replay::command(arguments),
        Command::Discard(arguments) => discard::command(arguments),
    }
}
