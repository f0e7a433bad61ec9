//! The table: on the terminal, and in the document.

use std::{fmt::Write as _, path::Path, time::Duration};

use crate::{
    arena::Finished,
    rows::{self, Pace},
    tally::{Repeats, Tally},
};

/// Around the table in the document.
const BEGIN: &str = "<!-- chaos: begin -->";
const END: &str = "<!-- chaos: end -->";

pub fn list() {
    for row in rows::ALL {
        let pace = if row.pace == Pace::Quick {
            "quick"
        } else {
            "slow"
        };
        let short = if row.short { ", in the short form" } else { "" };
        println!("{} ({pace}{short}): {}", row.name, row.what);
    }
}

pub fn print(finished: &[Finished]) {
    print!("{}", table(finished));
}

pub fn print_failures(finished: &[Finished]) {
    for failure in finished.iter().flat_map(|row| &row.failures) {
        eprintln!("{failure}");
    }
}

/// Replaces what is between the marks.
///
/// # Errors
/// A file that cannot be read or written, or has no marks.
pub fn write(file: &Path, finished: &[Finished], seed: u64, took: Duration) -> Result<(), String> {
    let say = |error: std::io::Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(say)?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| format!("{}: no marks", file.display()))?;
    let table = table(finished);
    let minutes = took.as_secs() / 60;
    let about = format!(
        "Seed {seed}, Hareway {} ({} build), {}, {minutes} minutes.",
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        machine(),
    );
    let text = format!("{before}{BEGIN}\n{about}\n\n{table}{END}{after}");
    std::fs::write(file, text).map_err(say)
}

/// What it was played on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory = memory.split_whitespace().nth(1);
    let memory: u64 = memory.and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let release = read("/etc/os-release");
    let system = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = system.unwrap_or("an unknown system").trim_matches('"');
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores, {} GiB, {system}, Linux {}",
        memory >> 20,
        kernel.trim()
    )
}

fn table(finished: &[Finished]) -> String {
    let head = [
        "fault",
        "RabbitMQ",
        "rounds",
        "sent",
        "accepted",
        "replied",
        "refused",
        "cut",
        "delivered",
        "parked",
        "lost",
        "repeated",
        "misattributed",
        "hung",
        "longest gap",
    ];
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in finished {
        if let Some(why) = &row.skipped {
            let name = row.row.name;
            let cells = " |".repeat(head.len() - 3);
            writeln!(
                table,
                "| {name} | {} | not played: {why} |{cells}",
                row.version
            )
            .expect("a string");
            continue;
        }
        let sum = &row.sum;
        let failed = row.failures.len();
        let rounds = match failed {
            0 => row.rounds.to_string(),
            _ => format!("{} ({failed} failed)", row.rounds),
        };
        let cells = [
            row.row.name.to_owned(),
            row.version.clone(),
            rounds,
            sum.sent.to_string(),
            accepted(sum),
            sum.replied.to_string(),
            refused(sum),
            (sum.cut + sum.left).to_string(),
            sum.delivered.to_string(),
            sum.parked.to_string(),
            sum.lost.to_string(),
            repeated(sum, row.row.repeats),
            sum.misattributed.to_string(),
            sum.hung.to_string(),
            format!("{} / {}", seconds(sum.accept_gap), seconds(sum.call_gap)),
        ];
        writeln!(table, "| {} |", cells.join(" | ")).expect("a string");
    }
    table
}

fn accepted(sum: &Tally) -> String {
    match sum.spooled {
        0 => sum.accepted.to_string(),
        spooled => format!("{} + {spooled} spooled", sum.accepted),
    }
}

fn refused(sum: &Tally) -> String {
    if sum.refused.is_empty() {
        return "0".to_owned();
    }
    let each = sum.refused.iter();
    let each: Vec<_> = each
        .map(|(status, count)| format!("{status}: {count}"))
        .collect();
    each.join(", ")
}

fn repeated(sum: &Tally, repeats: Repeats) -> String {
    match repeats {
        Repeats::Never => sum.duplicated.to_string(),
        Repeats::May => format!("{} (may)", sum.duplicated),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
