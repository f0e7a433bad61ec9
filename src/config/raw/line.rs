//! Where a value begins and ends on a line that YAML could not read: just enough of its grammar
//! to say which text wants quotes.

/// Of characters in a line.
pub(super) type Range = std::ops::Range<usize>;

/// Where a comment begins.
pub(super) struct Comment {
    pub(super) at: usize,
    /// Maps and lists of the line that are open there.
    pub(super) open: usize,
}

/// What is known at one character of a line.
#[derive(Clone, Copy)]
struct State {
    /// The next character begins a key or a value.
    fresh: bool,
    /// A key and its `: ` came before.
    keyed: bool,
    /// A `- ` came before.
    item: bool,
    /// Maps and lists that are open.
    open: usize,
    /// Braces and brackets that are open within the text.
    nested: usize,
    /// The quote that is open.
    quote: Option<char>,
    /// Where the current text began.
    start: usize,
}

impl State {
    const BEGIN: Self = Self {
        fresh: true,
        keyed: false,
        item: false,
        open: 0,
        nested: 0,
        quote: None,
        start: 0,
    };

    fn step(&mut self, text: &[char], index: usize, char: char) {
        if let Some(quote) = self.quote {
            if char == quote {
                self.quote = None;
            }
            return;
        }
        if char.is_whitespace() {
            return;
        }
        let ends = text.get(index + 1).is_none_or(|next| next.is_whitespace());
        if self.fresh {
            match char {
                '-' if ends && self.open == 0 => {
                    self.item = true;
                    return;
                }
                '[' => return self.opened(),
                '{' if opens_map(text, index) => return self.opened(),
                '}' | ']' if self.open > 0 => return self.closed(),
                '{' => self.nested = 1,
                '"' | '\'' => self.quote = Some(char),
                _ => {}
            }
            self.fresh = false;
            self.start = index;
            return;
        }
        match char {
            ':' if ends && !self.keyed => {
                self.keyed = true;
                self.fresh = true;
            }
            ',' if self.open > 0 && self.nested == 0 && ends => {
                self.keyed = false;
                self.fresh = true;
            }
            '{' | '[' => self.nested += 1,
            '}' | ']' if self.nested > 0 => self.nested -= 1,
            '}' | ']' if self.open > 0 => self.closed(),
            _ => {}
        }
    }

    fn opened(&mut self) {
        self.open += 1;
        self.keyed = false;
    }

    fn closed(&mut self) {
        self.open -= 1;
        self.fresh = false;
    }
}

/// Whether a `{` that begins a value is a map's, not that of `{path.x}`.
fn opens_map(text: &[char], at: usize) -> bool {
    let inside = text.iter().skip(at + 1).take_while(|c| **c != '}');
    let inside: String = inside.collect();
    inside.contains(": ") || inside.ends_with(':') || inside.trim().is_empty()
}

fn before(text: &[char], at: usize) -> State {
    let mut state = State::BEGIN;
    for (index, char) in text.iter().enumerate().take(at) {
        state.step(text, index, *char);
    }
    state
}

/// The comment of a line.
pub(super) fn comment(text: &[char]) -> Option<Comment> {
    let mut state = State::BEGIN;
    for (index, char) in text.iter().enumerate() {
        let spaced = index == 0 || text.get(index - 1).is_some_and(|c| c.is_whitespace());
        if *char == '#' && spaced && state.quote.is_none() {
            return Some(Comment {
                at: index,
                open: state.open,
            });
        }
        state.step(text, index, *char);
    }
    None
}

/// The value that a character lies in: from behind its key or the bracket, comma or dash that
/// introduces it, to the comma or bracket that ends it, a comment, or the end of the line.
pub(super) fn value(text: &[char], at: usize) -> Option<Range> {
    let state = before(text, at);
    let start = start(&state, at)?;
    let mut nested = 0_usize;
    let mut end = text.len();
    for (index, char) in text.iter().enumerate().skip(start) {
        let ends = text.get(index + 1).is_none_or(|next| next.is_whitespace());
        let spaced = index > 0 && text.get(index - 1).is_some_and(|c| c.is_whitespace());
        match char {
            '{' | '[' => nested += 1,
            '}' | ']' if nested > 0 => nested -= 1,
            '}' | ']' if state.open > 0 => {
                end = index;
                break;
            }
            ',' if state.open > 0 && nested == 0 && ends => {
                end = index;
                break;
            }
            '#' if spaced && index > at => {
                end = index;
                break;
            }
            _ => {}
        }
    }
    range(text, start, end)
}

/// `None` for what is a key by its place.
fn start(state: &State, at: usize) -> Option<usize> {
    let is_value = state.keyed || state.item || state.open > 0;
    is_value.then_some(if state.fresh { at } else { state.start })
}

fn range(text: &[char], start: usize, end: usize) -> Option<Range> {
    let end = trimmed(text, start, end);
    (end > start).then_some(start..end)
}

/// The end without the white space before it.
pub(super) fn trimmed(text: &[char], start: usize, end: usize) -> usize {
    (start..end)
        .rev()
        .find(|at| text.get(*at).is_some_and(|c| !c.is_whitespace()))
        .map_or(start, |last| last + 1)
}
