//! `hareway parked discard`.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use serde_json::json;

use super::{
    selection,
    work::{self, Plan},
};
use crate::{amqp::parked::Deed, cli::output, config::Config};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    selection: selection::Arguments,
    /// Every message; needed where no filter is given.
    #[arg(long)]
    all: bool,
    /// At most so many messages.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Say how many would be discarded, and leave them.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn command(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let filter = arguments.selection.filter();
    if filter.is_all() && !arguments.all {
        return Ok(work::usage(
            "nothing says which messages to discard: add a filter such as `--older-than 7d`, or `--all`",
        ));
    }
    let sure = arguments.yes || arguments.dry_run;
    let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !sure && !terminal {
        return Ok(work::usage(
            "discarding is for good, and there is no terminal to ask on: add `--yes`, or `--dry-run`",
        ));
    }
    let (config, queues) = match work::prepare(&arguments.selection) {
        Ok(prepared) => prepared,
        Err(code) => return Ok(code),
    };
    let deed = match sure && !arguments.dry_run {
        true => Deed::Discard,
        false => Deed::Look,
    };
    let mut plan = Plan {
        queues: &queues,
        filter,
        limit: arguments.limit,
        deed,
    };
    if !sure {
        let seen = work::run(&config, &plan, &mut |_, _, _| {})?;
        if seen.failed || seen.interrupted || seen.total.matched == 0 {
            return end(arguments, &seen);
        }
        if !confirmed(seen.total.matched, &queues.names)? {
            eprintln!("nothing was discarded");
            return Ok(ExitCode::FAILURE);
        }
        // No more than what was counted, whatever has come since.
        plan.limit = Some(seen.total.matched);
        plan.deed = Deed::Discard;
    }
    run(arguments, &config, &plan)
}

fn run(arguments: &Arguments, config: &Config, plan: &Plan<'_>) -> anyhow::Result<ExitCode> {
    let outcome = work::run(config, plan, &mut |_, _, _| {})?;
    end(arguments, &outcome)
}

fn end(arguments: &Arguments, outcome: &work::Outcome) -> anyhow::Result<ExitCode> {
    let total = &outcome.total;
    if arguments.json {
        let document = json!({ "tally": total, "dry_run": arguments.dry_run });
        output::print(&format!("{document}\n"))?;
    } else {
        let done = match arguments.dry_run {
            true => format!("would discard {}", total.matched),
            false => format!("discarded {}", total.discarded),
        };
        output::print(&format!(
            "{done}, looked at {} of {}\n",
            total.scanned, total.messages
        ))?;
    }
    Ok(outcome.exit_code())
}

fn confirmed(messages: u64, queues: &[String]) -> anyhow::Result<bool> {
    eprint!(
        "{messages} messages match in {}. Discard them for good? [y/N] ",
        queues.join(", ")
    );
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
