//! `hareway spool`: what waits on disk for the broker, and what was set apart from it.

mod access;

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::{USAGE, output, sources};
use crate::admin::spool::work::{Apart, Deed, Line, Wanted};
use access::Access;

/// Messages that are asked for at once.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the routes, what waits in their spools, and how much was set apart.
    List(ListArguments),
    /// List the messages of a route that were set apart.
    Apart(ApartArguments),
    /// Put messages that were set apart back, at the end of the line.
    Return(MoveArguments),
    /// Delete messages that were set apart, for good.
    Discard(MoveArguments),
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct ListArguments {
    #[command(flatten)]
    sources: sources::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct ApartArguments {
    #[command(flatten)]
    sources: sources::Arguments,
    route: String,
    /// At most so many messages.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct MoveArguments {
    #[command(flatten)]
    sources: sources::Arguments,
    route: String,
    /// One message, by its key; may be repeated.
    #[arg(long = "key", value_name = "KEY", required_unless_present = "all")]
    keys: Vec<u64>,
    /// Every message that is set apart at this moment.
    #[arg(long, conflicts_with = "keys")]
    all: bool,
}

pub(super) fn command(command: &Command) -> anyhow::Result<ExitCode> {
    let sources = match command {
        Command::List(arguments) => &arguments.sources,
        Command::Apart(arguments) => &arguments.sources,
        Command::Return(arguments) | Command::Discard(arguments) => &arguments.sources,
    };
    let loaded = match sources.load() {
        Ok(loaded) => loaded,
        Err(found) => return Ok(sources::refuse(&found)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let Some(access) = Access::find(&loaded.config).await? else {
            eprintln!(
                "error: no bridge answers at {}, and there is no store in {}",
                loaded.config.admin.listen,
                loaded.config.store.path.display()
            );
            return Ok(ExitCode::from(USAGE));
        };
        let done = run(command, &access).await;
        access.close().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

async fn run(command: &Command, access: &Access) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => {
            let spools = access.spools().await?;
            if arguments.json {
                return print_json(&spools);
            }
            let mut rows =
                vec![["ROUTE", "MESSAGES", "BYTES", "OLDEST", "APART"].map(str::to_owned)];
            rows.extend(spools.routes.into_iter().map(line));
            output::print(&output::table(&rows))
        }
        Command::Apart(arguments) => apart(arguments, access).await,
        Command::Return(arguments) => act(arguments, access, Deed::Return).await,
        Command::Discard(arguments) => act(arguments, access, Deed::Discard).await,
    }
}

async fn apart(arguments: &ApartArguments, access: &Access) -> anyhow::Result<()> {
    let mut found: Vec<Apart> = Vec::new();
    let mut after = None;
    loop {
        let most = arguments.limit.saturating_sub(found.len()).min(PAGE);
        if most == 0 {
            break;
        }
        let page = access.apart(&arguments.route, after, most).await?;
        found.extend(page.messages);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if arguments.json {
        return print_json(&found);
    }
    let head = [
        "KEY",
        "ID",
        "REASON",
        "ACCEPTED",
        "SET APART",
        "EXCHANGE",
        "ROUTING KEY",
        "BYTES",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(found.into_iter().map(row));
    output::print(&output::table(&rows))?;
    if after.is_some() {
        eprintln!("there are more; `--limit` shows them");
    }
    Ok(())
}

async fn act(arguments: &MoveArguments, access: &Access, deed: Deed) -> anyhow::Result<()> {
    let wanted = Wanted {
        keys: arguments.keys.clone(),
        all: arguments.all,
    };
    let done = access.act(&arguments.route, wanted, deed).await?;
    let deed = match deed {
        Deed::Return => "returned",
        Deed::Discard => "discarded",
    };
    output::print(&format!("{deed} {}\n", done.messages))
}

fn line(line: Line) -> [String; 5] {
    let apart = match line.apart {
        0 => "0".to_owned(),
        count => format!("{count} ({} bytes)", line.apart_bytes),
    };
    [
        line.route,
        line.messages.to_string(),
        line.bytes.to_string(),
        line.oldest.unwrap_or_else(|| "-".to_owned()),
        apart,
    ]
}

fn row(apart: Apart) -> [String; 8] {
    // Ids and keys are the callers': nothing of them may move a terminal's cursor.
    let text = |text: Option<String>| match text {
        Some(text) => text.escape_debug().to_string(),
        None => "-".to_owned(),
    };
    [
        apart.key.to_string(),
        text(apart.id),
        apart.reason,
        text(apart.stored_at),
        apart.since,
        text(apart.exchange),
        text(apart.routing_key),
        apart.bytes.to_string(),
    ]
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    output::print(&format!("{text}\n"))
}
