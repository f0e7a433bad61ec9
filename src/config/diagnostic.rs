//! Mistakes and doubts, each with its place and what to write instead.

use std::fmt;

use super::raw::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake or doubt.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What is wrong, without a full stop.
    pub message: String,
    /// `None` where no file is at fault (a missing file, an environment variable).
    pub place: Option<Place>,
    /// Further places, each with a note: the first of two duplicates, for example.
    pub related: Vec<(Place, String)>,
    /// What to write instead.
    pub help: Option<String>,
}

/// Everything found, in the order of the files.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    /// Where everything further would be a consequence of what is reported already.
    settled: Vec<Place>,
}

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let is_settled = diagnostic
            .place
            .as_ref()
            .is_some_and(|place| self.settled.iter().any(|settled| settled.covers(place)));
        if !is_settled {
            self.found.push(diagnostic);
        }
    }

    /// Drops whatever comes later for this place, as the value there is not what was meant.
    pub fn settle(&mut self, place: &Place) {
        self.settled.push(place.clone());
    }

    pub fn error(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::new(Severity::Error, place, message, help));
    }

    pub fn warning(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::new(Severity::Warning, place, message, help));
    }

    pub fn has_errors(&self) -> bool {
        self.found
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// Keeps only what `keep` says, as where a later finding explains an earlier one.
    pub fn retain(&mut self, keep: impl FnMut(&Diagnostic) -> bool) {
        self.found.retain(keep);
    }

    pub fn extend(&mut self, other: Self) {
        self.found.extend(other.found);
        self.settled.extend(other.settled);
    }
}

impl Diagnostic {
    pub fn new(
        severity: Severity,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = help.into();
        Self {
            severity,
            message: message.into(),
            place: Some(place.clone()),
            related: Vec::new(),
            help: (!help.is_empty()).then_some(help),
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.found.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{kind}: {}", self.message)?;
        if let Some(place) = &self.place {
            excerpt(f, place, "")?;
        }
        for (place, note) in &self.related {
            excerpt(f, place, note)?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "  = help: {help}")?;
        }
        Ok(())
    }
}

/// The place, its source line, and a mark below what is meant.
fn excerpt(f: &mut fmt::Formatter<'_>, place: &Place, note: &str) -> fmt::Result {
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    writeln!(f, "{margin}--> {place}")?;
    let Some(line) = place.source.text.lines().nth(place.line.saturating_sub(1)) else {
        return Ok(());
    };
    let indent: String = line
        .chars()
        .take(place.column.saturating_sub(1))
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let mark = "^".repeat(place.length.max(1));
    let note = if note.is_empty() {
        String::new()
    } else {
        format!(" {note}")
    };
    writeln!(
        f,
        "{margin} |\n{number} | {line}\n{margin} | {indent}{mark}{note}"
    )
}
