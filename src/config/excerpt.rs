//! The line of a place with a mark below it, without the secrets on it.

use std::fmt;

use super::{mask, raw::Place};

/// Characters of a line that are shown, and how many of them come before the mark at least.
const WIDTH: usize = 160;
const BEFORE: usize = 60;

/// The place, its source line, and a mark with the note below what is meant.
pub(super) fn excerpt(f: &mut fmt::Formatter<'_>, place: &Place, note: &str) -> fmt::Result {
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    writeln!(f, "{margin}--> {place}")?;
    let Some(line) = place.source.text.lines().nth(place.line.saturating_sub(1)) else {
        return if note.is_empty() {
            Ok(())
        } else {
            writeln!(f, "{margin} = {note}")
        };
    };
    let Shown { text, mark } = shown(line, place);
    let gap = if note.is_empty() { "" } else { " " };
    writeln!(
        f,
        "{margin} |\n{number} | {text}\n{margin} | {mark}{gap}{note}"
    )
}

struct Shown {
    text: String,
    mark: String,
}

fn shown(line: &str, place: &Place) -> Shown {
    let secrets = mask::secrets(&place.source, place.line);
    let line = line.trim_start_matches('\u{feff}').trim_end();
    let from = place.column.saturating_sub(1);
    let to = from + place.length.max(1);
    let mut cells = Vec::new();
    let (mut first, mut last) = (None, 0);
    for (index, char) in line.chars().enumerate() {
        let secret = secrets.iter().find(|range| range.contains(&index));
        match secret {
            Some(range) if range.start == index => cells.extend(['*'; 3]),
            Some(_) => {}
            // Nothing in a file may command the terminal that shows it.
            None if char.is_control() && char != '\t' => cells.push('\u{fffd}'),
            None => cells.push(char),
        }
        let begin = cells.len() - secret.map_or(1, |_| 3);
        if (from..to).contains(&index) {
            first.get_or_insert(begin);
            last = cells.len();
        }
    }
    let first = first.unwrap_or(cells.len());
    window(&cells, first, last.max(first + 1))
}

/// At most [`WIDTH`] characters around the mark.
fn window(cells: &[char], first: usize, last: usize) -> Shown {
    let begin = if cells.len() <= WIDTH {
        0
    } else {
        first.saturating_sub(BEFORE)
    };
    let end = cells.len().min(begin + WIDTH);
    let cut = |yes: bool| if yes { "…" } else { "" };
    let text = cells.get(begin..end).unwrap_or_default();
    let indent = cells.get(begin..first).unwrap_or_default().iter();
    let indent = indent.map(|c| if *c == '\t' { '\t' } else { ' ' });
    let lead = if begin > 0 { " " } else { "" };
    Shown {
        text: format!(
            "{}{}{}",
            cut(begin > 0),
            text.iter().collect::<String>(),
            cut(end < cells.len())
        ),
        mark: format!(
            "{lead}{}{}",
            indent.collect::<String>(),
            "^".repeat(last.min(begin + WIDTH).saturating_sub(first).max(1))
        ),
    }
}
