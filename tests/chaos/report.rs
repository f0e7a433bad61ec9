//! The table: on the terminal, and in the document.

use std::{fmt::Write as _, path::Path, time::Duration};

use crate::{
    arena::Finished,
    arguments::Arguments,
    rows::{self, Pace},
    tally::{Repeats, Tally},
};

/// Around the table in the document.
const BEGIN: &str = "<!-- chaos: begin -->";
const END: &str = "<!-- chaos: end -->";
const HEAD: [&str; 15] = [
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

/// Replaces what is between the marks. After a run of some rows the lines of all others stay, and
/// below the table it says which these were.
///
/// # Errors
/// A file that cannot be read or written, or has no marks.
pub fn write(
    file: &Path,
    finished: &[Finished],
    arguments: &Arguments,
    took: Duration,
) -> Result<(), String> {
    let say = |error: std::io::Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(say)?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (inside, after) = rest.split_once(END)?;
        Some((before, inside, after))
    });
    let (before, inside, after) = parts.ok_or_else(|| format!("{}: no marks", file.display()))?;
    let minutes = took.as_secs() / 60;
    let about = format!(
        "Seed {}, Hareway {} ({} build), {}, {minutes} minutes.",
        arguments.seed,
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        machine(),
    );
    let inside = match arguments.is_whole() {
        true => format!("\n{about}\n\n{}", table(finished)),
        false => amended(inside, finished, &about),
    };
    std::fs::write(file, format!("{before}{BEGIN}{inside}{END}{after}")).map_err(say)
}

/// What stood there, with the lines of these rows instead of theirs.
fn amended(inside: &str, finished: &[Finished], about: &str) -> String {
    let mut lines: Vec<String> = inside.lines().map(str::to_owned).collect();
    let mut names: Vec<String> = Vec::new();
    for row in finished {
        let begin = format!("| {} | {} |", row.row.name, row.version);
        let at = lines.iter().position(|line| line.starts_with(&begin));
        match at {
            Some(at) => lines[at] = line(row),
            None => {
                let end = lines.iter().rposition(|line| line.starts_with('|'));
                lines.insert(end.map_or(lines.len(), |end| end + 1), line(row));
            }
        }
        names.push(format!("`{}`", row.row.name));
    }
    names.dedup();
    format!(
        "{}\n\n{}, by itself: {about}\n",
        lines.join("\n"),
        names.join(", ")
    )
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
    let mut table = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for row in finished {
        writeln!(table, "{}", line(row)).expect("a string");
    }
    table
}

fn line(row: &Finished) -> String {
    if let Some(why) = &row.skipped {
        let cells = " |".repeat(HEAD.len() - 3);
        return format!(
            "| {} | {} | not played: {why} |{cells}",
            row.row.name, row.version
        );
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
    format!("| {} |", cells.join(" | "))
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
