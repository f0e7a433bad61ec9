//! The command line: that of the full run, and whatever `cargo test` hands to every test binary.

use std::path::PathBuf;

use crate::rows::Pace;

/// Printed for a mistake.
const USAGE: &str = "\
usage: chaos [--full] [--seed N] [--rounds N] [--slow-rounds N] [--row NAME]… [--write FILE] [--list] [FILTER]…
  without --full: one round of the rows that take seconds";

#[derive(Debug, Default)]
pub struct Arguments {
    /// All rows, and all their rounds.
    pub full: bool,
    /// What chance there is in a round comes from this, the row's name and the round's number.
    pub seed: u64,
    /// Instead of each row's own number.
    pub rounds: Option<u32>,
    /// The same for the slow rows.
    pub slow_rounds: Option<u32>,
    /// Only these rows.
    pub rows: Vec<String>,
    /// Part of a row's name, as `cargo test` passes it on.
    pub filters: Vec<String>,
    /// A document whose table is to be replaced, or only the lines of these rows.
    pub write: Option<PathBuf>,
    pub list: bool,
}

// === impl Arguments ===

impl Arguments {
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut found = Self {
            seed: fastrand::u64(..1_000_000),
            ..Self::default()
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}?\n{USAGE}"));
            match word.as_str() {
                "--full" => found.full = true,
                "--list" => found.list = true,
                "--seed" => found.seed = number(&value()?)?,
                "--rounds" => found.rounds = Some(number(&value()?)?),
                "--slow-rounds" => found.slow_rounds = Some(number(&value()?)?),
                "--row" => found.rows.push(value()?),
                "--write" => found.write = Some(value()?.into()),
                // Of the usual test harness: to be passed over, some with their value.
                "--test-threads" | "--skip" | "--format" | "--color" => drop(value()?),
                "--nocapture" | "--no-capture" | "--exact" | "--quiet" | "-q"
                | "--include-ignored" | "--ignored" | "--show-output" => {}
                other if other.starts_with("--test-threads=") => {}
                other if other.starts_with('-') => return Err(format!("{other}?\n{USAGE}")),
                filter => found.filters.push(filter.to_owned()),
            }
        }
        Ok(found)
    }

    pub fn rounds_of(&self, pace: Pace) -> u32 {
        match (self.full, pace) {
            (false, _) => self.rounds.unwrap_or(1),
            (true, Pace::Quick) => self.rounds.unwrap_or(20),
            (true, Pace::Slow) => self.slow_rounds.or(self.rounds).unwrap_or(5),
        }
    }

    /// Whether every row is wanted.
    pub fn is_whole(&self) -> bool {
        self.rows.is_empty() && self.filters.is_empty()
    }

    pub fn wants(&self, row: &str) -> bool {
        let named = self.rows.is_empty() || self.rows.iter().any(|name| name == row);
        let filtered =
            self.filters.is_empty() || self.filters.iter().any(|part| row.contains(part.as_str()));
        named && filtered
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text} is no number\n{USAGE}"))
}
