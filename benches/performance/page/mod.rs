//! The figures as a part of docs/performance.md, and its plots.

mod memory;
mod numbers;
mod plots;
mod rounds;
mod targets;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::model::{Flow, Run};

/// Around the figures in the page.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// Puts the figures of a whole run into the page at `file`, and the plots beside it.
pub(crate) fn write(file: &Path, run: &Run) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let (before, rest) = text.split_once(BEGIN).context("the page has no mark")?;
    let (_, after) = rest
        .split_once(END)
        .context("the page has no second mark")?;
    let folder = plots_folder(file)?;
    fs::create_dir_all(&folder)?;
    for flow in Flow::ALL {
        plots::connections(&folder.join(plot_name(flow)), run, flow)?;
    }
    plots::spool(&folder.join("spool.svg"), run)?;
    let body = render(run)?;
    fs::write(file, format!("{before}{BEGIN}\n{body}\n{END}{after}"))?;
    Ok(())
}

/// All that was measured, whole or not.
pub(crate) fn render(run: &Run) -> anyhow::Result<String> {
    let mut sections = vec![machine(run)];
    let errors = run.errors();
    if errors.count > 0 {
        let first = errors.first.unwrap_or_default();
        sections.push(format!(
            "**This run had {} errors, so that its figures say little.** The first: {first}.",
            errors.count
        ));
    }
    let mut add = |title: &str, text: String| {
        if !text.is_empty() {
            sections.push(format!("### {title}\n\n{text}"));
        }
    };
    add("Targets", targets::render(run));
    add(
        "The flows, 1 KiB, 64 connections",
        rounds::render(&run.flows),
    );
    add("Many routes", memory::routes(run));
    add("Connections and types of queue", connections(run)?);
    add("Larger bodies, 16 connections", rounds::render(&run.bodies));
    add("While the broker is away", memory::outages(run));
    add("Memory", memory::memory(run));
    add("From start to ready", memory::starts(run));
    add("The pure parts", memory::micro(run));
    Ok(sections.join("\n\n"))
}

fn machine(run: &Run) -> String {
    let of = &run.machine;
    let quick = if of.quick {
        " A quick run: it shows that everything works, and no more."
    } else {
        ""
    };
    let again: String = run
        .amended
        .iter()
        .map(|(part, machine)| format!(" `{part}` was measured later ({}).", machine.revision))
        .collect();
    format!(
        "Hareway {} ({}), {}; {} cores ({}), Linux {}. {} rounds of {} s, {} messages delivered. Load average before: {}; \
         other processes took {:.0} % of the CPU. {:.0} minutes.{again}{quick}",
        env!("CARGO_PKG_VERSION"),
        of.revision,
        of.broker,
        of.cores,
        of.cpu,
        of.kernel,
        of.rounds,
        of.seconds,
        of.messages,
        of.load_before,
        of.others * 100.0,
        of.minutes.ceil()
    )
}

fn connections(run: &Run) -> anyhow::Result<String> {
    let mut text = String::new();
    if run.connections.is_empty() {
        return Ok(text);
    }
    text.push_str("One round of each, half as long.\n\n");
    for flow in Flow::ALL {
        let name = flow.name();
        writeln!(text, "![{name}](performance/{})\n", plot_name(flow))?;
    }
    text.push_str(&rounds::render(&run.connections));
    Ok(text)
}

fn plot_name(flow: Flow) -> String {
    format!("{}.svg", flow.name().replace('/', "-"))
}

fn plots_folder(page: &Path) -> anyhow::Result<PathBuf> {
    let parent = page.parent().context("the page has no folder")?;
    Ok(parent.join("performance"))
}
