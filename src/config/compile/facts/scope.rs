//! What templates may refer to where they stand.

use std::sync::Arc;

use super::super::{section::nearest, values};
use crate::{
    config::{
        diagnostic::Diagnostics,
        raw::{Node, Place},
    },
    template::{Source, Template},
};

/// What templates of a route may name.
#[derive(Debug, Clone)]
pub(in super::super) enum Scope {
    /// A request with these path parameters.
    Request(Vec<Arc<str>>),
    /// A message without a request's path.
    Message,
    /// A message that carries these path parameters.
    Carried(Vec<Arc<str>>),
    /// The reply to a request.
    Reply,
    /// Nothing is checked: the path itself is wrong.
    Anything,
}

impl Scope {
    /// The same, once the request has become a message.
    pub(in super::super) fn carried(&self) -> Self {
        match self {
            Self::Request(names) | Self::Carried(names) => Self::Carried(names.clone()),
            Self::Message | Self::Reply => Self::Message,
            Self::Anything => Self::Anything,
        }
    }

    /// Reads a template and checks what it names.
    pub(in super::super) fn template(
        &self,
        node: &Node,
        out: &mut Diagnostics,
    ) -> Option<Template> {
        let template = values::template(node, out)?;
        self.check(node, &template, out);
        Some(template)
    }

    pub(in super::super) fn check(&self, node: &Node, template: &Template, out: &mut Diagnostics) {
        for source in template.references() {
            match (self, source) {
                (Self::Anything, _) => {}
                (Self::Request(known) | Self::Carried(known), Source::Path(name)) => {
                    if known.contains(name) {
                        continue;
                    }
                    let message = format!("the route's path has no parameter `{name}`");
                    let help = match nearest(name, known.iter().map(|known| &**known)) {
                        Some(near) => format!("did you mean `{{path.{near}}}`?"),
                        None if known.is_empty() => format!(
                            "the path has none; write for example `/…/{{{name}}}` in `from`"
                        ),
                        None => format!("it has: {}", known.join(", ")),
                    };
                    out.error(&place_of(node, name), message, help);
                }
                (Self::Message, Source::Path(name)) => {
                    let message = format!("`{source}` on a route that takes messages from a queue");
                    let help = "there is no path here; use `{header.…}`, `{query.…}`, `{property.…}`, `{routing_key}` or `{json:/…}`";
                    out.error(&place_of(node, name), message, help);
                }
                (Self::Reply, Source::Path(name) | Source::Query(name)) => {
                    let message = format!("`{source}` where only the reply is at hand");
                    let help = "use the reply's `{header.…}`, `{property.…}` or `{json:/…}`";
                    out.error(&place_of(node, name), message, help);
                }
                (Self::Request(_), Source::Property(property)) => {
                    let message = format!("`{source}` on a route that takes HTTP in");
                    let header = property.as_str().replace('_', "-");
                    let help = format!("a request has headers only: `{{header.{header}}}`");
                    out.error(&place_of(node, property.as_str()), message, help);
                }
                (Self::Request(_), Source::RoutingKey) => {
                    let help = "there is none yet: this is where it is made";
                    out.error(
                        &place_of(node, "routing_key"),
                        "`{routing_key}` on a route that takes HTTP in",
                        help,
                    );
                }
                _ => {}
            }
        }
    }
}

/// The place of `word` within the node, where it can be found on its line.
fn place_of(node: &Node, word: &str) -> Place {
    let mut place = node.place.clone();
    let line = place
        .source
        .text
        .lines()
        .nth(place.line.saturating_sub(1))
        .unwrap_or_default();
    let rest: String = line.chars().skip(place.column.saturating_sub(1)).collect();
    if let Some(before) = rest.find(word).and_then(|at| rest.get(..at)) {
        place.column += before.chars().count();
        place.length = word.chars().count().max(1);
    }
    place
}
