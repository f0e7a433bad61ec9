//! Whole-process figures of the three flows, beside the least that a correct program needs, in one
//! run with a real broker. `make figures` starts it; docs/figures.md says what it shows.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod backend;
mod broker;
mod errors;
#[path = "../limits/mod.rs"]
mod limits;
mod load;
mod measure;
mod process;
mod subject;
mod table;

use std::{env, time::Duration};

use anyhow::Context;
use tokio::time::Instant;

use measure::Figures;
use subject::Flow;
use table::Section;

/// Connections of the load, and calls at a time of what delivers.
pub(crate) const CONNECTIONS: u16 = 64;
/// Bytes of each body.
pub(crate) const BODY: usize = 1024;

/// How long and how much; `FIGURES_…` in the environment.
pub(crate) struct Settings {
    pub(crate) amqp_url: String,
    /// The broker's process, where it is on this machine and known.
    pub(crate) broker_pid: Option<u32>,
    rounds: usize,
    /// Of each round with a load.
    pub(crate) measured: Duration,
    /// Of each round that delivers.
    pub(crate) messages: usize,
    queue_types: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    // What cargo itself adds begins with dashes.
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let settings = Settings::from_environment()?;
    let url = settings.amqp_url.as_str();
    let queue = subject::QUEUE;
    match arguments.as_slice() {
        ["limit", "accept", port] => {
            runtime.block_on(limits::accept::run(url, queue, port.parse()?))
        }
        ["limit", "deliver", port] => {
            let backend = format!("http://127.0.0.1:{port}/");
            runtime.block_on(limits::deliver::run(url, queue, &backend, CONNECTIONS))
        }
        [] => runtime.block_on(figures(&settings)),
        other => anyhow::bail!("unknown arguments: {other:?}"),
    }
}

async fn figures(settings: &Settings) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (begin, load_average) = (Instant::now(), process::load_average()?);
    let before = others_cpu_seconds(settings)?;
    let mut sections = Vec::new();
    for queue_type in &settings.queue_types {
        for flow in Flow::ALL {
            let mut section = Section {
                flow,
                queue_type: queue_type.clone(),
                bridge: Vec::new(),
                limit: Vec::new(),
            };
            for round in 0..settings.rounds {
                let mut subjects = flow.subjects().to_vec();
                // Neither always has the other's aftermath.
                if round % 2 == 1 {
                    subjects.reverse();
                }
                for subject in subjects {
                    let measured =
                        Figures::measure(settings, flow, subject, queue_type, dir.path());
                    let what = format!("{} {} {queue_type}", flow.name(), subject.name());
                    let figures = measured.await.context(what.clone())?;
                    let (rate, errors) = (figures.rate, figures.errors.count);
                    eprintln!("round {}: {what}: {rate:.0}/s, {errors} errors", round + 1);
                    section.push(subject, figures);
                }
            }
            sections.push(section);
        }
    }
    let others = others_cpu_seconds(settings)? - before;
    let cores = std::thread::available_parallelism()?.get();
    let share = others / begin.elapsed().as_secs_f64() / cores as f64;
    println!("{}", table::render(&sections));
    println!(
        "{cores} cores; load average before: {load_average}; other processes took {:.0} % of the CPU.",
        share * 100.0
    );
    report(&sections)
}

fn report(sections: &[Section]) -> anyhow::Result<()> {
    let mut total = 0;
    for section in sections {
        let errors = section.errors();
        total += errors.count;
        if let Some(first) = errors.first {
            let (flow, count) = (section.flow.name(), errors.count);
            println!("{flow}: {count} errors, the first: {first}");
        }
    }
    anyhow::ensure!(
        total == 0,
        "this run had {total} errors: its figures say little"
    );
    Ok(())
}

/// CPU seconds so far of all that has nothing to do with this run.
fn others_cpu_seconds(settings: &Settings) -> anyhow::Result<f64> {
    let broker = settings.broker_pid.map(process::cpu_seconds).transpose()?;
    let ours = process::family_cpu_seconds()? + broker.unwrap_or_default();
    Ok(process::machine_cpu_seconds()? - ours)
}

// === impl Settings ===

impl Settings {
    fn from_environment() -> anyhow::Result<Self> {
        let broker_pid = env::var("FIGURES_BROKER_PID").ok();
        let queue_types = env::var("FIGURES_QUEUES").unwrap_or_else(|_| "quorum".to_owned());
        Ok(Self {
            amqp_url: env::var("AMQP_URL").context("AMQP_URL is not set: make figures")?,
            broker_pid: broker_pid.map(|pid| pid.parse()).transpose()?,
            rounds: number("FIGURES_ROUNDS", 3)?,
            measured: Duration::from_secs(number("FIGURES_SECONDS", 8)? as u64),
            messages: number("FIGURES_MESSAGES", 50_000)?,
            queue_types: queue_types.split_whitespace().map(str::to_owned).collect(),
        })
    }
}

fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    match env::var(name) {
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => anyhow::bail!("{name}={text} is no positive number"),
        },
        Err(_) => Ok(default),
    }
}
