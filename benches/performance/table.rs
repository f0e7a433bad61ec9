//! The rounds of a flow, as Markdown: medians, with the least and the most.

use crate::model::{Figures, Rounds};

type Column = fn(&Figures) -> Option<f64>;

/// Title, decimals, value.
const COLUMNS: [(&str, usize, Column); 7] = [
    ("per second", 0, |figures| Some(figures.rate)),
    ("p50 ms", 1, |figures| Some(figures.latency?.p50)),
    ("p99 ms", 1, |figures| Some(figures.latency?.p99)),
    ("p99.9 ms", 1, |figures| Some(figures.latency?.p999)),
    ("CPU-s per 1,000", 4, |figures| Some(figures.cpu)),
    ("broker's", 4, |figures| figures.broker_cpu),
    ("peak MiB", 0, |figures| Some(figures.peak_mib)),
];

/// A row for each subject; below it, the bridge's figures divided by its own.
pub(crate) fn render(all: &[Rounds]) -> String {
    let titles: Vec<&str> = COLUMNS.iter().map(|(title, _, _)| *title).collect();
    let mut table = format!("| flow | | {} | errors |\n", titles.join(" | "));
    table.push_str("|---|---|");
    table.push_str(&"---:|".repeat(titles.len() + 1));
    table.push('\n');
    for rounds in all {
        table.push_str(&row(rounds));
        let same = |each: &&Rounds| each.point == rounds.point && each.subject.is_bridge();
        if let Some(bridge) = all.iter().find(same)
            && bridge.subject != rounds.subject
        {
            table.push_str(&ratios(bridge, rounds));
        }
    }
    table
}

fn row(rounds: &Rounds) -> String {
    let (flow, subject) = (rounds.point.flow.name(), rounds.subject.name());
    let mut row = format!("| {flow} | {subject} |");
    for (_, decimals, value) in COLUMNS {
        let values: Vec<f64> = rounds.figures.iter().filter_map(value).collect();
        match median(values.clone()) {
            Some(median) => {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(0.0, f64::max);
                row.push_str(&format!(" {median:.decimals$}"));
                if values.len() > 1 {
                    row.push_str(&format!(" ({least:.decimals$}–{most:.decimals$})"));
                }
                row.push_str(" |");
            }
            None => row.push_str(" – |"),
        }
    }
    let errors: u64 = rounds.figures.iter().map(|each| each.errors.count).sum();
    row.push_str(&format!(" {errors} |\n"));
    row
}

/// The median of each round's own ratio: what disturbs a round disturbs both of its parts.
fn ratios(bridge: &Rounds, other: &Rounds) -> String {
    let mut row = "| | *bridge ÷ this* |".to_owned();
    for (_, _, value) in COLUMNS {
        let pairs = bridge.figures.iter().zip(&other.figures);
        let ratios = pairs.filter_map(|(bridge, other)| {
            let (bridge, other) = (value(bridge)?, value(other)?);
            (other > 0.0).then_some(bridge / other)
        });
        match median(ratios.collect()) {
            Some(ratio) => row.push_str(&format!(" *{ratio:.2}* |")),
            None => row.push_str(" – |"),
        }
    }
    row.push_str(" |\n");
    row
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get((values.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}
