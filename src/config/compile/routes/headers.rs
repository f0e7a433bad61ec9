//! `headers: { pass, drop, set }`.

use super::super::{
    section::{Section, named},
    values,
};
use crate::{
    config::{
        diagnostic::Diagnostics,
        model::{HeaderPattern, HeaderRules},
        raw::Node,
    },
    message::headers::{is_reserved, is_settable},
    template::Template,
};

/// Where the headers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toward {
    /// Into a request, which may be given a `Host`.
    Backend,
    Other,
}

/// The rules at `path`, and each template among them with its node.
pub(super) fn rules<'a>(
    node: Option<&'a Node>,
    path: &str,
    toward: Toward,
    out: &mut Diagnostics,
) -> (HeaderRules, Vec<(&'a Node, Template)>) {
    let mut templates = Vec::new();
    let mut rules = HeaderRules::default();
    let Some(mut section) = node.and_then(|node| Section::open(node, path, out)) else {
        return (rules, templates);
    };
    rules.pass = section.get("pass", out).map(|node| patterns(node, out));
    rules.drop = section
        .get("drop", out)
        .map(|node| patterns(node, out))
        .unwrap_or_default();
    for (key, node) in named(section.get("set", out), &format!("{path}.set"), out) {
        let lower = key.text.to_ascii_lowercase();
        let named_node = Node {
            place: key.place.clone(),
            value: node.value.clone(),
        };
        let Some(name) = values::header_name(&lower, &named_node, out) else {
            continue;
        };
        let is_host = name == http::header::HOST;
        if !is_settable(name.as_str()) || (is_host && toward == Toward::Other) {
            let help = "it describes one connection, not the message (RFC 9110 §7.6.1); remove it";
            out.error(&key.place, format!("`{}` cannot be set", key.text), help);
        } else if is_reserved(name.as_str()) {
            let help = "names that begin with `hareway-` are Hareway's own; choose another";
            out.error(&key.place, format!("`{}` cannot be set", key.text), help);
        } else if rules.set.iter().any(|(known, _)| *known == name) {
            let help = "the names of headers are the same in any letters; remove one of them";
            out.error(&key.place, format!("`{name}` is set twice"), help);
        } else if let Some(template) = values::template(node, out) {
            templates.push((node, template.clone()));
            rules.set.push((name, template));
        }
    }
    section.finish(out);
    (rules, templates)
}

fn patterns(node: &Node, out: &mut Diagnostics) -> Vec<HeaderPattern> {
    let mut found = Vec::new();
    for item in values::items(node) {
        let Some(text) = values::text(item, out) else {
            continue;
        };
        let lower = text.to_ascii_lowercase();
        let (name, prefix) = match lower.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (lower.as_str(), false),
        };
        if prefix && name.is_empty() {
            found.push(HeaderPattern::Prefix(String::new()));
        } else if values::header_name(name, item, out).is_some() {
            let name = name.to_owned();
            found.push(if prefix {
                HeaderPattern::Prefix(name)
            } else {
                HeaderPattern::Exact(name)
            });
        }
    }
    found
}
