//! Whole-process figures of the three flows, beside the least that a correct program needs, in one
//! run with a real broker. `make bench` starts it; docs/performance.md says what it shows.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod amend;
mod backend;
mod broker;
mod closed_loop;
mod errors;
#[path = "../../tests/it/support/lifeline.rs"]
#[allow(
    clippy::expect_used,
    unreachable_pub,
    reason = "shared with the tests, which have it so"
)]
mod lifeline;
mod limited;
#[path = "../limits/mod.rs"]
mod limits;
mod load;
mod measure;
mod micro;
mod model;
mod node;
mod page;
mod plan;
mod probes;
mod process;
mod settings;
mod step;
mod subject;

use std::{env, fs, path::Path};

use anyhow::Context;
use tokio::time::Instant;

use errors::Errors;
use model::{Machine, Run};
use settings::{Part, Settings};

/// The last run, as JSON: `make bench PART=page` makes the page of it once more.
const KEPT: &str = "target/performance/run.json";

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
    if arguments == ["page"] {
        return page::write(&settings::page(), &kept()?);
    }
    let settings = Settings::new(&arguments)?;
    let whole = settings.amend.then(kept).transpose()?;
    let run = runtime.block_on(run(&settings))?;
    report(&settings, run, whole)
}

/// The last whole run.
fn kept() -> anyhow::Result<Run> {
    let text = fs::read_to_string(KEPT).with_context(|| format!("no run is kept in {KEPT}"))?;
    Ok(serde_json::from_str(&text)?)
}

async fn run(settings: &Settings) -> anyhow::Result<Run> {
    let kept = Path::new(KEPT);
    // Not in a folder for passing files, which may be in memory: a spool is to reach a disk.
    let folder = kept.parent().context("a folder")?;
    fs::create_dir_all(folder)?;
    let dir = tempfile::tempdir_in(folder)?;
    let (begin, load_before) = (Instant::now(), process::load_average()?);
    let before = others_cpu_seconds(settings)?;
    let mut run = Run::default();
    for part in &settings.parts {
        // What the others have found is not lost with it.
        if let Err(error) = measure(settings, *part, &mut run, dir.path()).await {
            let failed = format!("{}: {error:#}", part.name());
            eprintln!("failed: {failed}");
            run.failed.push(failed);
        }
    }
    let others = others_cpu_seconds(settings)? - before;
    run.machine = machine(settings).await?;
    run.machine.load_before = load_before;
    run.machine.others = others / begin.elapsed().as_secs_f64() / run.machine.cores as f64;
    run.machine.minutes = begin.elapsed().as_secs_f64() / 60.0;
    Ok(run)
}

async fn measure(settings: &Settings, part: Part, run: &mut Run, dir: &Path) -> anyhow::Result<()> {
    match part {
        Part::Accept | Part::Deliver | Part::RequestReply => {
            if let Some(flow) = part.flow() {
                run.flows.extend(plan::flow(settings, flow, dir).await?);
            }
        }
        Part::Routes => {
            run.routes = plan::routes(settings, dir).await?;
            run.check_seconds = probes::check_seconds(settings, dir).await?;
        }
        Part::Connections => run.connections = plan::connections(settings, dir).await?,
        Part::Bodies => run.bodies = plan::bodies(settings, dir).await?,
        Part::Spool => {
            run.outages = probes::outages(settings, dir).await?;
            run.long_spool = probes::long_spool(settings, dir).await?;
        }
        Part::Backlog => run.backlogs = probes::backlogs(settings, dir).await?,
        Part::Held => run.held = Some(probes::held(settings, dir).await?),
        Part::Start => run.starts = probes::starts(settings, dir).await?,
        Part::Micro => run.micro = micro::medians()?,
    }
    Ok(())
}

async fn machine(settings: &Settings) -> anyhow::Result<Machine> {
    let broker = match &settings.node {
        Some(node) => format!("RabbitMQ {}, one node", node.version().await?),
        None => "a broker elsewhere".to_owned(),
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(Machine {
        cores: std::thread::available_parallelism()?.get(),
        cpu: process::cpu_name(),
        kernel: kernel.trim().to_owned(),
        broker,
        revision: env::var("BENCH_REVISION").unwrap_or_else(|_| "unknown revision".to_owned()),
        quick: settings.quick,
        rounds: settings.rounds,
        seconds: settings.seconds,
        messages: settings.messages,
        ..Machine::default()
    })
}

/// A whole run goes to the page, and so does one whose parts take their places in it; any other to
/// the terminal only.
fn report(settings: &Settings, run: Run, whole: Option<Run>) -> anyhow::Result<()> {
    println!("{}", page::render(&run)?);
    let Errors { count, first } = run.errors();
    let page = match whole {
        Some(mut whole) => {
            amend::amend(&mut whole, &settings.parts, &run)?;
            Some(whole)
        }
        None => settings.whole().then_some(run),
    };
    if let Some(page) = page {
        fs::write(KEPT, serde_json::to_string_pretty(&page)?)?;
        page::write(&settings.page, &page)?;
        eprintln!("written to {}", settings.page.display());
    }
    anyhow::ensure!(
        count == 0,
        "this run had {count} errors, its figures say little; the first: {}",
        first.unwrap_or_default()
    );
    Ok(())
}

/// CPU seconds so far of all that has nothing to do with this run.
fn others_cpu_seconds(settings: &Settings) -> anyhow::Result<f64> {
    let broker = settings.node.as_ref().map(node::Node::cpu_seconds);
    let ours = process::family_cpu_seconds()? + broker.transpose()?.unwrap_or_default();
    Ok(process::machine_cpu_seconds()? - ours)
}
