//! The medians of all rounds, as Markdown.

use crate::{
    errors::Errors,
    measure::Figures,
    subject::{Flow, Subject},
};

/// The rounds of one flow and one type of queue.
pub(crate) struct Section {
    pub(crate) flow: Flow,
    pub(crate) queue_type: String,
    pub(crate) bridge: Vec<Figures>,
    pub(crate) limit: Vec<Figures>,
}

type Column = fn(&Figures) -> Option<f64>;

/// Title, decimals, value.
const COLUMNS: [(&str, usize, Column); 6] = [
    ("per second", 0, |figures| Some(figures.rate)),
    ("p50 ms", 1, |figures| figures.p50_ms),
    ("p99 ms", 1, |figures| figures.p99_ms),
    ("CPU-s per 1,000", 3, |figures| Some(figures.cpu)),
    ("broker's CPU-s per 1,000", 3, |figures| figures.broker_cpu),
    ("peak MiB", 0, |figures| Some(figures.peak_rss_mib)),
];

// === impl Section ===

impl Section {
    pub(crate) fn push(&mut self, subject: Subject, figures: Figures) {
        match subject {
            Subject::Bridge => self.bridge.push(figures),
            Subject::Limit => self.limit.push(figures),
        }
    }

    pub(crate) fn errors(&self) -> Errors {
        let mut errors = Errors::default();
        for figures in self.bridge.iter().chain(&self.limit) {
            errors.merge(figures.errors.clone());
        }
        errors
    }

    fn row(&self, subject: &str, rounds: &[Figures]) -> String {
        let Self {
            flow, queue_type, ..
        } = self;
        let mut row = format!("| {}, {queue_type} | {subject} |", flow.name());
        for (_, decimals, value) in COLUMNS {
            let median = median(rounds.iter().filter_map(value).collect());
            cell(&mut row, median, decimals);
        }
        let errors: u64 = rounds.iter().map(|figures| figures.errors.count).sum();
        row.push_str(&format!(" {errors} |\n"));
        row
    }

    /// The median of each round's own ratio: what disturbs a round disturbs both of its parts.
    fn ratios(&self) -> String {
        let Self {
            flow, queue_type, ..
        } = self;
        let mut row = format!("| {}, {queue_type} | **bridge / limit** |", flow.name());
        for (_, _, value) in COLUMNS {
            let pairs = self.bridge.iter().zip(&self.limit);
            let ratios = pairs.filter_map(|(bridge, limit)| {
                let (bridge, limit) = (value(bridge)?, value(limit)?);
                (limit > 0.0).then_some(bridge / limit)
            });
            cell(&mut row, median(ratios.collect()), 2);
        }
        row.push_str(" |\n");
        row
    }
}

/// The whole table.
pub(crate) fn render(sections: &[Section]) -> String {
    let titles: Vec<&str> = COLUMNS.iter().map(|(title, _, _)| *title).collect();
    let mut table = format!("| flow, queue | | {} | errors |\n", titles.join(" | "));
    table.push_str("|---|---|");
    table.push_str(&"---:|".repeat(titles.len() + 1));
    table.push('\n');
    for section in sections {
        table.push_str(&section.row("bridge", &section.bridge));
        if !section.limit.is_empty() {
            table.push_str(&section.row("limit", &section.limit));
            table.push_str(&section.ratios());
        }
    }
    table
}

fn cell(row: &mut String, value: Option<f64>, decimals: usize) {
    match value {
        Some(value) => row.push_str(&format!(" {value:.decimals$} |")),
        None => row.push_str(" – |"),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get((values.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}
