//! Whole-process figures of the three flows, beside the least that a correct program needs, in one
//! run with a real broker. `make bench` starts it; docs/performance.md says what it shows.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod backend;
mod broker;
mod closed_loop;
mod errors;
mod limited;
#[path = "../limits/mod.rs"]
mod limits;
mod load;
mod measure;
mod model;
mod process;
mod settings;
mod step;
mod subject;
mod table;

use std::{env, path::Path};

use anyhow::Context;
use tokio::time::Instant;

use errors::Errors;
use measure::Round;
use model::{Flow, Point, Rounds};
use settings::Settings;

fn main() -> anyhow::Result<()> {
    // What cargo itself adds begins with dashes.
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let [verb, job] = arguments.as_slice()
        && verb == "limit"
    {
        let url = env::var("AMQP_URL").context("AMQP_URL is not set")?;
        let job: limited::Job = serde_json::from_str(job)?;
        return runtime.block_on(job.run(&url));
    }
    let settings = Settings::new(&arguments)?;
    runtime.block_on(run(&settings))
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (begin, load_average) = (Instant::now(), process::load_average()?);
    let before = others_cpu_seconds(settings)?;
    let mut all = Vec::new();
    for part in &settings.parts {
        if let Some(flow) = part.flow() {
            all.extend(flow_rounds(settings, flow, dir.path()).await?);
        }
    }
    let others = others_cpu_seconds(settings)? - before;
    let cores = std::thread::available_parallelism()?.get();
    let share = others / begin.elapsed().as_secs_f64() / cores as f64;
    println!("{}", table::render(&all));
    println!(
        "{cores} cores; load average before: {load_average}; other processes took {:.0} % of the CPU.",
        share * 100.0
    );
    report(&all)
}

/// Every subject in turn, once a round.
async fn flow_rounds(settings: &Settings, flow: Flow, dir: &Path) -> anyhow::Result<Vec<Rounds>> {
    let point = Point::plain(flow, "quorum");
    let empty = |subject: &_| Rounds {
        point: point.clone(),
        subject: *subject,
        figures: Vec::new(),
    };
    let mut all: Vec<Rounds> = flow.subjects().iter().map(empty).collect();
    for number in 0..settings.rounds {
        // None always has another's aftermath.
        all.reverse();
        for rounds in &mut all {
            let round = Round {
                settings,
                effort: settings.effort(),
                point: &point,
                subject: rounds.subject,
                dir,
            };
            let what = format!("{}, {}", flow.name(), rounds.subject.name());
            let figures = round.measure().await.context(what.clone())?;
            let (rate, cpu, errors) = (figures.rate, figures.cpu, figures.errors.count);
            eprintln!(
                "round {}: {what}: {rate:.0}/s, {cpu:.4} CPU-s per 1,000, {errors} errors",
                number + 1
            );
            rounds.figures.push(figures);
        }
    }
    all.sort_by_key(|rounds| {
        flow.subjects()
            .iter()
            .position(|each| *each == rounds.subject)
    });
    Ok(all)
}

fn report(all: &[Rounds]) -> anyhow::Result<()> {
    let mut total = Errors::default();
    for rounds in all {
        let (flow, subject) = (rounds.point.flow.name(), rounds.subject.name());
        for figures in &rounds.figures {
            let mut errors = figures.errors.clone();
            errors.first = errors
                .first
                .map(|first| format!("{flow}, {subject}: {first}"));
            total.merge(errors);
        }
    }
    let Errors { count, first } = total;
    anyhow::ensure!(
        count == 0,
        "this run had {count} errors, its figures say little; the first: {}",
        first.unwrap_or_default()
    );
    Ok(())
}

/// CPU seconds so far of all that has nothing to do with this run.
fn others_cpu_seconds(settings: &Settings) -> anyhow::Result<f64> {
    let broker = settings.broker_pid.map(process::cpu_seconds).transpose()?;
    let ours = process::family_cpu_seconds()? + broker.unwrap_or_default();
    Ok(process::machine_cpu_seconds()? - ours)
}
