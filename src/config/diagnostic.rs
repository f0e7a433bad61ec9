//! Mistakes and doubts, each with its place and what to write instead.

use std::fmt;

use super::{excerpt::excerpt, mask::masked, raw::Place};

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

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Diagnostic> {
        self.found.iter_mut()
    }

    /// Keeps only what `keep` says, as where a later finding explains an earlier one.
    pub fn retain(&mut self, keep: impl FnMut(&Diagnostic) -> bool) {
        self.found.retain(keep);
    }

    /// How many there are: a mark for [`Diagnostics::split_off`].
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Takes out what was found since the mark, to be put back in its place.
    pub fn split_off(&mut self, mark: usize) -> Vec<Diagnostic> {
        self.found.split_off(mark)
    }

    /// Puts back what was taken out.
    pub fn append(&mut self, mut found: Vec<Diagnostic>) {
        self.found.append(&mut found);
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
        writeln!(f, "{kind}: {}", masked(&self.message))?;
        if let Some(place) = &self.place {
            excerpt(f, place, "")?;
        }
        for (place, note) in &self.related {
            excerpt(f, place, note)?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "  = help: {}", masked(help))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::raw::Source;

    fn place(text: &str, line: usize, column: usize, length: usize) -> Place {
        Place {
            source: Arc::new(Source {
                name: "a.yaml".to_owned(),
                text: text.to_owned(),
            }),
            line,
            column,
            length,
        }
    }

    fn rendered(text: &str, column: usize, length: usize) -> String {
        Diagnostic::new(Severity::Error, &place(text, 1, column, length), "no", "").to_string()
    }

    #[test]
    fn a_diagnostic_has_place_line_mark_and_help() {
        let text = "a: 1\nb: 2\na: 3\n";
        let mut diagnostic = Diagnostic::new(
            Severity::Error,
            &place(text, 3, 1, 1),
            "`a` is defined twice",
            "remove one",
        );
        diagnostic
            .related
            .push((place(text, 1, 1, 1), "first defined here".to_owned()));
        let expected = "error: `a` is defined twice
 --> a.yaml:3:1
  |
3 | a: 3
  | ^
 --> a.yaml:1:1
  |
1 | a: 1
  | ^ first defined here
  = help: remove one
";
        assert_eq!(diagnostic.to_string(), expected);
    }

    #[test]
    fn the_mark_stands_below_what_is_meant() {
        let line = "error: no\n --> a.yaml:1:4\n  |\n1 | \té: x\u{fffd}y\n  | \t  ^^^^\n";
        assert_eq!(
            rendered("\té: x\u{1b}y\n", 4, 4),
            line,
            "tabs, multibyte and control characters"
        );
        assert!(rendered("abc\n", 4, 1).ends_with("1 | abc\n  |    ^\n"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let text = format!("{}key{}", "a".repeat(500), "b".repeat(500));
        let rendered = rendered(&text, 501, 3);
        let mut lines = rendered.lines().skip(3);
        let (line, mark) = (lines.next().unwrap(), lines.next().unwrap());
        let line = line.chars().collect::<Vec<_>>();
        assert_eq!(line.len(), 4 + 160 + 2);
        assert_eq!((line[4], line[line.len() - 1]), ('…', '…'));
        let at = mark.find('^').unwrap();
        assert_eq!(line[at..at + 3], ['k', 'e', 'y']);
        assert_eq!(mark.matches('^').count(), 3);
    }

    #[test]
    fn secrets_are_not_shown_wherever_the_mark_is() {
        let text = "a: { password: hunter2, b: c }";
        assert!(
            rendered(text, 28, 1)
                .ends_with("1 | a: { password: ***, b: c }\n  |                        ^\n")
        );
        assert!(rendered(text, 16, 7).ends_with("\n  |                ^^^\n"));
        let diagnostic = Diagnostic {
            severity: Severity::Warning,
            message: "`amqp://u:hunter2@h` is odd".to_owned(),
            place: None,
            related: Vec::new(),
            help: Some("write \"amqp://u:hunter2@h\"".to_owned()),
        };
        assert!(!diagnostic.to_string().contains("hunter2"));
    }

    /// Taking out and putting back moves findings only: what is settled neither goes nor grows.
    #[test]
    fn what_is_taken_out_is_put_back_behind_what_came_meanwhile() {
        let here = place("a: b\n", 1, 4, 1);
        let mut diagnostics = Diagnostics::default();
        diagnostics.error(&here, "first", "");
        for _ in 0..100 {
            let mark = diagnostics.len();
            diagnostics.settle(&here);
            let taken = diagnostics.split_off(mark);
            diagnostics.error(&here, "settled", "");
            diagnostics.append(taken);
        }
        assert_eq!((diagnostics.len(), diagnostics.settled.len()), (1, 100));
        let elsewhere = Place { column: 1, ..here };
        let mark = diagnostics.len();
        diagnostics.error(&elsewhere, "third", "");
        let taken = diagnostics.split_off(mark);
        diagnostics.error(&elsewhere, "second", "");
        diagnostics.append(taken);
        let messages = diagnostics.iter().map(|d| d.message.as_str());
        assert_eq!(messages.collect::<Vec<_>>(), ["first", "second", "third"]);
    }

    #[test]
    fn consequences_of_what_is_settled_are_dropped() {
        let here = place("a: b\n", 1, 4, 1);
        let mut diagnostics = Diagnostics::default();
        diagnostics.error(&here, "first", "");
        diagnostics.settle(&here);
        diagnostics.error(&here, "second", "");
        let elsewhere = Place {
            column: 1,
            ..here.clone()
        };
        diagnostics.error(&elsewhere, "third", "");
        let messages = diagnostics.iter().map(|d| d.message.as_str());
        assert_eq!(messages.collect::<Vec<_>>(), ["first", "third"]);
    }
}
