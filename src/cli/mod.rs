//! The command line: one file a command.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "standard output is what commands are for"
)]

mod check;
mod completions;
mod output;
mod parked;
mod routes;
mod run;
mod schema;
mod sources;
mod spool;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Bad configuration or usage (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;

/// Joins HTTP and RabbitMQ by configuration.
#[derive(Debug, Parser)]
#[command(name = "hareway", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge until a signal ends it.
    Run(sources::Arguments),
    /// Say everything that is wrong with a configuration.
    Check(check::Arguments),
    /// List the routes of a configuration.
    Routes(sources::Arguments),
    /// See, replay and discard parked messages.
    #[command(subcommand)]
    Parked(Box<parked::Command>),
    /// See what waits in the spools, and what was set apart from them.
    #[command(subcommand)]
    Spool(spool::Command),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Arguments),
    /// Print a shell's completion script.
    Completions(completions::Arguments),
}

/// Does what the process's arguments say.
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => report(dispatch(arguments.command)),
        Err(error) => usage(&error),
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => run::command(&arguments),
        Command::Check(arguments) => check::command(&arguments),
        Command::Routes(arguments) => routes::command(&arguments),
        Command::Parked(command) => parked::command(&command),
        Command::Spool(command) => spool::command(&command),
        Command::Schema(arguments) => schema::command(&arguments),
        Command::Completions(arguments) => completions::command(&arguments),
    }
}

/// Help and version are answers, everything else is a mistake.
fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() || printed.is_err() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// One line, from the failure to its cause.
fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sources_may_be_repeated() {
        let words = "hareway run -c a.yaml -c b.yaml --set a.b=c --set d=e --env-file .env";
        let arguments = Arguments::try_parse_from(words.split(' ')).unwrap();
        let Command::Run(arguments) = arguments.command else {
            panic!("not run: {arguments:?}")
        };
        let sources = arguments.sources();
        assert_eq!(
            sources.files,
            ["a.yaml", "b.yaml"].map(std::path::PathBuf::from)
        );
        assert_eq!(sources.set, ["a.b=c", "d=e"]);
    }
}
