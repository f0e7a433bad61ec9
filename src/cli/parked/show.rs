//! `hareway parked show`.

use std::{
    fmt::Write,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    selection,
    work::{self, Plan, printable},
};
use crate::{
    amqp::parked::{Deed, Facts, document},
    cli::output,
    message::{Message, field},
};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(in crate::cli) struct Arguments {
    /// The messages with these ids. Default: the first that matches.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    selection: selection::Arguments,
    /// At most so many messages. Default: as many as ids are given, else 1.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Print JSON.
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Write the bytes of the body and nothing else.
    #[arg(long)]
    raw: bool,
}

pub(super) fn command(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (config, queues) = match work::prepare(&arguments.selection) {
        Ok(prepared) => prepared,
        Err(code) => return Ok(code),
    };
    let mut filter = arguments.selection.filter();
    filter.ids.extend(arguments.ids.iter().cloned());
    let asked = filter.ids.len() as u64;
    let plan = Plan {
        queues: &queues,
        limit: Some(arguments.limit.unwrap_or(asked.max(1))),
        filter,
        deed: Deed::Look,
    };
    let mut text = String::new();
    let mut raw = Vec::new();
    let mut found = Vec::new();
    let outcome = work::run(&config, &plan, &mut |queue, message, facts| {
        if arguments.raw {
            raw.extend_from_slice(&message.body);
        } else if arguments.json {
            found.push(document::whole(queue, message, facts));
        } else {
            write_whole(&mut text, queue, message, facts);
        }
    })?;
    if arguments.raw {
        match io::stdout().lock().write_all(&raw) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.context("cannot write to standard output")?,
        }
    } else if arguments.json {
        output::print(&format!("{:#}\n", json!({ "messages": found })))?;
    } else {
        output::print(&text)?;
    }
    if outcome.total.matched == 0 {
        eprintln!("error: no message matches");
        return Ok(ExitCode::FAILURE);
    }
    Ok(outcome.exit_code())
}

fn write_whole(text: &mut String, queue: &str, message: &Message, facts: &Facts) {
    if !text.is_empty() {
        text.push('\n');
    }
    let mut line = |name: &str, value: &str| {
        // Writing to a text cannot fail.
        writeln!(text, "{name}: {}", printable(value)).unwrap_or_default();
    };
    line("queue", queue);
    if let Some(at) = facts.parked_at {
        line("parked at", &document::rfc3339(at));
    }
    for (name, value) in document::properties(message) {
        let shown = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        line(&name, &shown);
    }
    for (name, value) in message.properties.headers().iter().flatten() {
        let form = field::write(value).unwrap_or_default();
        let name = format!("header {}", printable(name.as_str()));
        line(&name, &String::from_utf8_lossy(&form));
    }
    line("bytes", &message.body.len().to_string());
    text.push('\n');
    match std::str::from_utf8(&message.body) {
        Ok(body) => {
            for line in body.lines() {
                text.push_str(&printable(line).replace("\\t", "\t"));
                text.push('\n');
            }
        }
        Err(_) => {
            text.push_str("base64: ");
            text.push_str(&STANDARD.encode(&message.body));
            text.push('\n');
        }
    }
}
