//! One YAML text to a raw tree, from parser events, so that every place is kept.

use std::{collections::HashMap, sync::Arc};

use serde_yaml::granit_parser::{
    Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle, Tag,
};

use super::{
    advice,
    tree::{Entry, Key, Node, Place, Scalar, ScalarPart, Source, Value},
};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};

/// How deep maps and lists may be nested.
const DEPTH_LIMIT: usize = 64;
/// How much the aliases of a file may stand for: nodes, and text by the 256 bytes. What is written
/// out needs no limit of its own, as it is no larger than the file.
const ALIASED_LIMIT: usize = 100_000;
const WEIGHT_BYTES: usize = 256;

/// The tree of a text. Every mistake goes to `diagnostics`; `None` where there is no tree for them.
/// An empty text is [`Value::Null`].
pub fn parse(source: Arc<Source>, diagnostics: &mut Diagnostics) -> Option<Node> {
    let held = Arc::clone(&source);
    build(&held.text, source, diagnostics)
}

/// The tree of a one-line text after the first `skipped` characters, with its places in the whole.
pub(super) fn parse_padded(
    source: &Arc<Source>,
    skipped: usize,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let padded: String = std::iter::repeat_n(' ', skipped)
        .chain(source.text.chars().skip(skipped))
        .collect();
    build(&padded, Arc::clone(source), diagnostics)
}

fn build(text: &str, source: Arc<Source>, diagnostics: &mut Diagnostics) -> Option<Node> {
    let mut options = Options::default();
    options.emit_unresolved_aliases = true;
    options.flow_nesting_limit = 2 * DEPTH_LIMIT;
    options.block_nesting_limit = 2 * DEPTH_LIMIT;
    options.set_emit_comments(false);
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        text,
        lines: text.lines().collect(),
        source,
        anchors: HashMap::new(),
        weight: 0,
        aliased: 0,
        diagnostics: Diagnostics::default(),
    };
    let tree = match builder.document() {
        Ok(node) => Some(node),
        Err(Stop::Reported) => None,
        Err(Stop::Syntax(error)) => {
            let found = advice::for_error(&builder.source, &error);
            // What was said of the beginning of the same value would be half of the advice.
            builder.diagnostics.retain(|earlier| {
                let place = earlier.place.as_ref().zip(found.place.as_ref());
                place.is_none_or(|(earlier, found)| !found.covers(earlier))
            });
            builder.diagnostics.push(found);
            None
        }
    };
    diagnostics.extend(builder.diagnostics);
    tree
}

/// Why there is no tree.
enum Stop {
    Syntax(ScanError),
    Reported,
}

struct Anchored {
    node: Node,
    weight: usize,
    depth: usize,
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    text: &'a str,
    lines: Vec<&'a str>,
    source: Arc<Source>,
    anchors: HashMap<usize, Anchored>,
    /// Of the tree so far, aliases expanded.
    weight: usize,
    /// What came by aliases.
    aliased: usize,
    diagnostics: Diagnostics,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let place = self.place(span);
                    self.diagnostics.error(
                        &place,
                        "a second document begins here, and a file holds one",
                        "put it into a file of its own, and name that in `include`",
                    );
                    return Err(Stop::Reported);
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, span, 1)?),
            }
        }
        Ok(root.unwrap_or_else(|| Node {
            place: self.place(Span::empty(Marker::new(0, 1, 0))),
            value: Value::Null,
        }))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        loop {
            match self.events.next_event() {
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Err(error)) => return Err(Stop::Syntax(error)),
                Some(Ok((Event::Anchor(..), _))) => {}
                Some(Ok(next)) => return Ok(next),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        let before = self.weight;
        self.weight += 1;
        if depth > DEPTH_LIMIT {
            let place = self.place(span);
            self.diagnostics.error(
                &place,
                format!("maps and lists are nested more than {DEPTH_LIMIT} deep here"),
                "",
            );
            return Err(Stop::Reported);
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.as_deref(), span);
                self.weight += text.len() / WEIGHT_BYTES;
                (self.scalar(&text, style, span), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.no_tag(tag.as_deref(), span);
                (self.list(span, depth)?, anchor)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.no_tag(tag.as_deref(), span);
                (self.map(style, span, depth)?, anchor)
            }
            Event::Alias(id) => (self.alias(id, span, depth)?, 0),
            _ => {
                self.diagnostics.push(advice::for_alias(self.place(span)));
                let text = span.slice(self.text).unwrap_or_default();
                (self.text_node(text, true, span), 0)
            }
        };
        if anchor != 0 {
            let weight = self.weight - before;
            let depth = height(&node);
            let node = node.clone();
            self.anchors.insert(
                anchor,
                Anchored {
                    node,
                    weight,
                    depth,
                },
            );
        }
        Ok(node)
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node {
                    place: self.place(Span::new(start.start, span.end)),
                    value: Value::List(items),
                });
            }
            let item = self.node(event, span, depth + 1)?;
            items.push(self.swallowed(item, "an item"));
        }
    }

    fn map(&mut self, style: StructureStyle, start: Span, depth: usize) -> Result<Node, Stop> {
        let mut entries = Vec::new();
        let mut seen = HashMap::<String, Place>::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                let span = Span::new(start.start, span.end);
                if style == StructureStyle::Flow && is_template(&entries) {
                    return Ok(self.bare_template(span));
                }
                return Ok(Node {
                    place: self.place(span),
                    value: Value::Map(entries),
                });
            }
            let key = self.key(event, span, depth)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Some(key) = key else { continue };
            if let Some(first) = seen.get(&key.text) {
                self.diagnostics.push(duplicate(&key, first));
                continue;
            }
            seen.insert(key.text.clone(), key.place.clone());
            let value = self.swallowed(value, &format!("`{}`", key.text));
            entries.push(Entry { key, value });
        }
    }

    /// `None` for what was reported.
    fn key(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Option<Key>, Stop> {
        let place = self.place(span);
        if let Event::Scalar(text, style, ..) = &event {
            if *style != ScalarStyle::Plain || text != "<<" {
                self.weight += 1 + text.len() / WEIGHT_BYTES;
                return Ok(Some(Key {
                    text: text.to_string(),
                    place,
                }));
            }
            self.diagnostics.error(
                &place,
                "merge keys (`<<`) are not supported",
                "write the keys out; or give the whole value by an alias, `key: *name`; \
                 or put what differs into a second file, `-c base.yaml -c other.yaml`",
            );
            return Ok(None);
        }
        let is_alias = event.is_alias();
        self.node(event, span, depth + 1)?;
        if !is_alias {
            self.diagnostics.error(
                &place,
                "a key is a word, not a map or a list",
                "braces and brackets that belong to a text need quotes around the whole of it",
            );
        }
        Ok(None)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, span: Span) -> Node {
        let plain = style == ScalarStyle::Plain;
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Node {
                place: self.place(span),
                value: Value::Null,
            };
        }
        self.text_node(text, !plain, span)
    }

    fn text_node(&self, text: &str, quoted: bool, span: Span) -> Node {
        Node {
            place: self.place(span),
            value: Value::Scalar(Scalar {
                parts: vec![ScalarPart::Text(text.to_owned())],
                quoted,
            }),
        }
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Node, Stop> {
        let Some((weight, height)) = self.anchors.get(&id).map(|of| (of.weight, of.depth)) else {
            let place = self.place(span);
            self.diagnostics
                .error(&place, "this alias stands inside what it names", "");
            return Err(Stop::Reported);
        };
        self.expand(weight, span)?;
        if depth + height > DEPTH_LIMIT + 1 {
            let place = self.place(span);
            self.diagnostics.error(
                &place,
                format!("maps and lists are nested more than {DEPTH_LIMIT} deep by this alias"),
                "",
            );
            return Err(Stop::Reported);
        }
        self.anchors
            .get(&id)
            .map(|of| of.node.clone())
            .ok_or(Stop::Reported)
    }

    fn expand(&mut self, weight: usize, span: Span) -> Result<(), Stop> {
        self.weight += weight;
        self.aliased += weight;
        if self.aliased <= ALIASED_LIMIT {
            return Ok(());
        }
        let place = self.place(span);
        self.diagnostics.error(
            &place,
            format!("the aliases of the file stand for more than {ALIASED_LIMIT} values"),
            "",
        );
        Err(Stop::Reported)
    }

    fn no_tag(&mut self, tag: Option<&Tag>, span: Span) {
        let Some(tag) = tag else { return };
        let place = self.place(span.tag_span().unwrap_or(span));
        self.diagnostics.error(
            &place,
            format!("the tag `{}` has no meaning here", tag.original()),
            "leave it out; a text that begins with `!` needs quotes",
        );
    }

    /// `{path.x}` without quotes, which YAML takes for a map with an empty value.
    fn bare_template(&mut self, span: Span) -> Node {
        let text = span.slice(self.text).unwrap_or_default();
        let place = self.place(span);
        self.diagnostics
            .error(&place, advice::LEADING_BRACE, advice::write(&place, text));
        self.text_node(text, true, span)
    }

    /// `key: #`, where YAML sees a comment and no value.
    fn swallowed(&mut self, node: Node, what: &str) -> Node {
        if !matches!(node.value, Value::Null) {
            return node;
        }
        let Some((place, text)) = advice::swallowed(&node.place) else {
            return node;
        };
        self.diagnostics.error(
            &place,
            format!("{what} has no value: without quotes, `#` begins a comment"),
            format!("{}, or give a value", advice::write(&place, &text)),
        );
        Node {
            place,
            value: Value::Scalar(Scalar {
                parts: vec![ScalarPart::Text(text)],
                quoted: true,
            }),
        }
    }

    fn place(&self, span: Span) -> Place {
        let line = span.start.line().max(1);
        let width = self
            .lines
            .get(line - 1)
            .map_or(0, |text| text.trim_end().chars().count());
        let end = if span.end.line() == line {
            span.end.col().min(width)
        } else {
            width
        };
        Place {
            source: Arc::clone(&self.source),
            line,
            column: span.start.col() + 1,
            length: end.saturating_sub(span.start.col()).max(1),
        }
    }
}

/// The error for a name given twice.
pub(super) fn duplicate(second: &Key, first: &Place) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(
        Severity::Error,
        &second.place,
        format!("`{}` is defined twice", second.text),
        "remove or rename one of the two",
    );
    diagnostic
        .related
        .push((first.clone(), "first defined here".to_owned()));
    diagnostic
}

/// Whether a flow map is what YAML makes of `{path.x}`.
fn is_template(entries: &[Entry]) -> bool {
    let [entry] = entries else { return false };
    let word = entry.key.text.as_str();
    matches!(entry.value.value, Value::Null)
        && (word == "routing_key"
            || word.starts_with("routing_key:-")
            || ["path.", "query.", "header.", "property.", "json:"]
                .iter()
                .any(|source| word.starts_with(source)))
}

fn height(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(height).max().unwrap_or(0),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| height(&entry.value))
            .max()
            .unwrap_or(0),
    }
}
