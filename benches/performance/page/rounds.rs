//! Rounds as a table: medians, with the least and the most.

use super::numbers::{head, median, spread};
use crate::model::{BODY, CONNECTIONS, Figures, Point, Rounds};

pub(super) type Value = fn(&Figures) -> Option<f64>;

pub(super) const RATE: Value = |figures| Some(figures.rate);
pub(super) const CPU: Value = |figures| Some(figures.cpu);
pub(super) const P99: Value = |figures| Some(figures.latency?.p99);
pub(super) const PEAK: Value = |figures| Some(figures.peak_mib);

/// Title, decimals, value.
const COLUMNS: [(&str, usize, Value); 7] = [
    ("per second", 0, RATE),
    ("p50 ms", 1, |figures| Some(figures.latency?.p50)),
    ("p99 ms", 1, P99),
    ("p99.9 ms", 1, |figures| Some(figures.latency?.p999)),
    ("CPU-s per 1,000", 4, CPU),
    ("broker's", 4, |figures| figures.broker_cpu),
    ("peak MiB", 1, PEAK),
];

/// A row for each subject; below it, the figures of the first at its point divided by its own.
pub(super) fn render(all: &[Rounds]) -> String {
    let Some(mut before) = all.first() else {
        return String::new();
    };
    let titles = COLUMNS.map(|(title, _, _)| title);
    let mut table = head(&["", ""], &[&titles[..], &["errors"]].concat());
    for rounds in all {
        if rounds.point != before.point || std::ptr::eq(rounds, before) {
            before = rounds;
            table.push_str(&row(rounds));
        } else {
            table.push_str(&row(rounds));
            table.push_str(&ratios(before, rounds));
        }
    }
    table.trim_end().to_owned()
}

fn row(rounds: &Rounds) -> String {
    let mut row = format!("| {} | {} |", place(&rounds.point), rounds.subject.name());
    for (_, decimals, value) in COLUMNS {
        let values: Vec<f64> = rounds.figures.iter().filter_map(value).collect();
        row.push_str(&format!(" {} |", spread(&values, decimals)));
    }
    let errors: u64 = rounds.figures.iter().map(|each| each.errors.count).sum();
    row.push_str(&format!(" {errors} |\n"));
    row
}

fn place(point: &Point) -> String {
    let mut place = point.flow.name().to_owned();
    if point.queue_type != "quorum" {
        place.push_str(&format!(", {}", point.queue_type));
    }
    if point.body != BODY {
        place.push_str(&format!(", {} KiB", point.body / 1024));
    } else if point.connections != CONNECTIONS {
        place.push_str(&format!(", {}", point.connections));
    }
    place
}

fn ratios(bridge: &Rounds, other: &Rounds) -> String {
    let mut row = format!("| | *{} ÷ this* |", bridge.subject.name());
    for (_, _, value) in COLUMNS {
        match ratio(bridge, other, value) {
            Some(ratio) => row.push_str(&format!(" *{ratio:.2}* |")),
            None => row.push_str(" – |"),
        }
    }
    row.push_str(" |\n");
    row
}

/// The median of each round's own ratio: what disturbs a round disturbs both of its parts.
pub(super) fn ratio(one: &Rounds, other: &Rounds, value: Value) -> Option<f64> {
    let pairs = one.figures.iter().zip(&other.figures);
    let ratios = pairs.filter_map(|(one, other)| {
        let (one, other) = (value(one)?, value(other)?);
        (other > 0.0).then_some(one / other)
    });
    median(ratios.collect())
}

/// The median over the rounds.
pub(super) fn middle(rounds: &Rounds, value: Value) -> Option<f64> {
    median(rounds.figures.iter().filter_map(value).collect())
}
