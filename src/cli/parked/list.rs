//! `hareway parked list`.

use std::{process::ExitCode, time::SystemTime};

use serde_json::json;

use super::{
    selection,
    work::{self, Plan, printable},
};
use crate::{
    amqp::parked::{Deed, Facts, document},
    cli::output,
};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    selection: selection::Arguments,
    /// At most so many messages.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const HEAD: [&str; 8] = [
    "ID", "QUEUE", "REASON", "STATUS", "ATTEMPTS", "PARKED", "BYTES", "ORIGIN",
];

pub(super) fn command(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (config, queues) = match work::prepare(&arguments.selection) {
        Ok(prepared) => prepared,
        Err(code) => return Ok(code),
    };
    let plan = Plan {
        queues: &queues,
        filter: arguments.selection.filter(),
        limit: Some(arguments.limit),
        deed: Deed::Look,
    };
    let mut rows = vec![HEAD.map(str::to_owned)];
    let mut entries = Vec::new();
    let now = SystemTime::now();
    let outcome = work::run(
        &config,
        &plan,
        &mut |queue, _, facts| match arguments.json {
            true => entries.push(document::entry(queue, facts)),
            false => rows.push(row(queue, facts, now)),
        },
    )?;
    if arguments.json {
        let document = json!({ "tally": outcome.total, "messages": entries });
        output::print(&format!("{document:#}\n"))?;
    } else {
        output::print(&output::table(&rows))?;
        if outcome.total.remaining > 0 && outcome.total.matched == arguments.limit {
            eprintln!(
                "{} of {} messages looked at; `--limit` shows more",
                outcome.total.scanned, outcome.total.messages
            );
        }
    }
    Ok(outcome.exit_code())
}

fn row(queue: &str, facts: &Facts, now: SystemTime) -> [String; 8] {
    let text = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
    let origin = &facts.origin;
    let parked = facts.parked_at.map_or("-".to_owned(), |at| {
        let age = now.duration_since(at).unwrap_or_default().as_secs();
        format!("{} ({})", document::rfc3339(at), short_age(age))
    });
    [
        text(&facts.id),
        printable(queue),
        text(&facts.reason),
        facts
            .status
            .map_or("-".to_owned(), |status| status.to_string()),
        facts.attempts.to_string(),
        parked,
        facts.bytes.to_string(),
        text(&origin.queue),
    ]
}

/// In the largest unit that leaves a whole number.
fn short_age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}
