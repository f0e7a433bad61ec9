//! What was found beside the flows' rates.

use super::{
    numbers::{head, spread},
    rounds,
};
use crate::model::{Figures, LongSpool, Run};

pub(super) fn routes(run: &Run) -> String {
    let mut text = rounds::render(&run.routes);
    if !run.check_seconds.is_empty() {
        let seconds = spread(&run.check_seconds, 3);
        text.push_str(&format!(
            "\n\n`hareway check` of 10,000 routes: {seconds} s, process start included."
        ));
    }
    text
}

pub(super) fn outages(run: &Run) -> String {
    if run.outages.is_empty() {
        return String::new();
    }
    let columns = [
        "per second",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU-s per 1,000",
        "peak MiB",
        "errors",
    ];
    let mut table = head(&["accept, with a spool"], &columns);
    let plain: Vec<&Figures> = run.outages.iter().map(|outage| &outage.plain).collect();
    let spooling: Vec<&Figures> = run.outages.iter().map(|outage| &outage.spooling).collect();
    table.push_str(&outage_row("the broker is there", &plain));
    table.push_str(&outage_row("the broker has been stopped", &spooling));
    let drains: Vec<f64> = run.outages.iter().map(|outage| outage.drain_rate).collect();
    let waiting: Vec<f64> = run
        .outages
        .iter()
        .map(|outage| outage.waiting as f64)
        .collect();
    table.push_str(&format!(
        "\nWhen it came back, {} messages waited, and {} a second were published.",
        spread(&waiting, 0),
        spread(&drains, 0)
    ));
    table
}

fn outage_row(name: &str, all: &[&Figures]) -> String {
    let of = |value: rounds::Value, decimals| {
        let values: Vec<f64> = all.iter().filter_map(|figures| value(figures)).collect();
        spread(&values, decimals)
    };
    let errors: u64 = all.iter().map(|figures| figures.errors.count).sum();
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {errors} |\n",
        of(rounds::RATE, 0),
        of(|figures| Some(figures.latency?.p50), 1),
        of(rounds::P99, 1),
        of(|figures| Some(figures.latency?.p999), 1),
        of(rounds::CPU, 4),
        of(rounds::PEAK, 1),
    )
}

pub(super) fn memory(run: &Run) -> String {
    let mut parts = Vec::new();
    parts.extend(run.long_spool.as_ref().map(long_spool));
    let lines: Vec<String> = run
        .backlogs
        .iter()
        .map(|backlog| {
            let (messages, peak) = (backlog.messages, backlog.peak_mib);
            format!("- while delivering from a queue of {messages} messages: {peak:.1} MiB at most")
        })
        .collect();
    if !lines.is_empty() {
        parts.push(lines.join("\n"));
    }
    parts.extend(run.held.as_ref().map(|held| {
        format!(
            "- {} calls that wait for their replies at once: {:.1} MiB, {:.1} at most until they were answered, \
             {:.1} before the first; {} errors",
            held.calls, held.held_mib, held.peak_mib, held.idle_mib, held.errors.count
        )
    }));
    parts.join("\n")
}

fn long_spool(long: &LongSpool) -> String {
    let mut table = head(&["a long spool"], &["messages", "memory MiB", "store MiB"]);
    let filling = long.filling.iter().map(|sample| ("filling", sample));
    let draining = long.draining.iter().map(|sample| ("draining", sample));
    // A tenth of them is enough for a table; the plot has all.
    let shown = |(index, _): &(usize, _)| index % 4 == 0;
    for (_, (name, sample)) in filling
        .enumerate()
        .filter(shown)
        .chain(draining.enumerate().filter(shown))
    {
        table.push_str(&format!(
            "| {name} | {} | {:.1} | {:.0} |\n",
            sample.messages, sample.memory_mib, sample.file_mib
        ));
    }
    table.push_str(&format!(
        "| ended | 0 | – | {:.0} |\n\n{:.0} a second were spooled, {:.0} a second published; \
         {:.1} MiB at most, {} errors.\n\n![memory and store](performance/spool.svg)\n",
        long.file_after_mib, long.fill_rate, long.drain_rate, long.peak_mib, long.errors.count
    ));
    table
}

pub(super) fn starts(run: &Run) -> String {
    let row = |starts: &crate::model::Starts| {
        let (name, count) = (starts.flow.name(), starts.ready_ms.len());
        format!(
            "- {name}: {} ms, of {count} starts",
            spread(&starts.ready_ms, 1)
        )
    };
    let rows: Vec<String> = run.starts.iter().map(row).collect();
    rows.join("\n")
}

pub(super) fn micro(run: &Run) -> String {
    if run.micro.is_empty() {
        return String::new();
    }
    let mut table = head(&["one operation"], &["median"]);
    for (name, nanoseconds) in &run.micro {
        let time = match *nanoseconds {
            time if time < 1e3 => format!("{time:.0} ns"),
            time if time < 1e6 => format!("{:.2} µs", time / 1e3),
            time => format!("{:.2} ms", time / 1e6),
        };
        table.push_str(&format!("| {name} | {time} |\n"));
    }
    table.trim_end().to_owned()
}
