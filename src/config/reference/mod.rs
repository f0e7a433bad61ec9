//! The reference of the configuration, made from the table of keys.

use std::fmt::{self, Write};

use super::keys::{self, Key, Kind};

/// What no table can say, in Markdown whose links hold where the reference stands.
const INTRODUCTION: &str = include_str!("intro.txt");

/// The whole reference in Markdown.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    // Writing to a text cannot fail.
    write_sections(&mut text).unwrap_or_default();
    text
}

fn write_sections(text: &mut String) -> fmt::Result {
    let mut sections: Vec<&str> = Vec::new();
    for key in keys::all() {
        if key.name() != "*" && !sections.contains(&key.parent()) {
            sections.push(key.parent());
        }
    }
    // As people go down the tree: each section before those within it.
    let places: Vec<&str> = keys::all().map(|key| key.path).collect();
    sections.sort_by_key(|path| order(path, &places));
    for path in sections {
        write_section(text, path)?;
    }
    Ok(())
}

/// The positions in the table of a path's sections, outermost first.
fn order(path: &str, places: &[&str]) -> Vec<usize> {
    let ends = path.match_indices('.').map(|(at, _)| at);
    let sections = ends
        .chain([path.len()])
        .filter_map(|end| path.get(..end))
        .filter(|section| !section.is_empty());
    sections
        .filter_map(|section| places.iter().position(|place| *place == section))
        .collect()
}

fn write_section(text: &mut String, path: &str) -> fmt::Result {
    match keys::find(path) {
        None => writeln!(text, "\n## The top of the file\n")?,
        Some(section) => {
            writeln!(text, "\n## `{}`\n\n{}", shown(path), section.doc)?;
            if path.ends_with(".bind.*") || !section.example.contains('{') {
                writeln!(text)?;
            } else {
                let name = shown(path);
                let name = name.rsplit('.').next().unwrap_or_default();
                writeln!(text, "\n```yaml\n{name}: {}\n```\n", section.example)?;
            }
        }
    }
    writeln!(text, "| key | value | default | |\n|---|---|---|---|")?;
    for key in keys::entries(path) {
        writeln!(
            text,
            "| `{}` | {} | {} | {} Example: `{}` |",
            key.name(),
            kind(key.kind),
            default(key),
            cell(key.doc),
            cell(key.example),
        )?;
    }
    Ok(())
}

/// A path as people say it: `routes.NAME.to.http`.
fn shown(path: &str) -> String {
    path.replace('*', "NAME")
}

/// A bar would end the table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Values stand as code, explanations as they are.
fn default(key: &Key) -> String {
    let is_value = !key.default.contains(' ') || key.default.starts_with(['[', '{', '"']);
    match key.default {
        "" => String::new(),
        default if is_value => format!("`{}`", cell(default)),
        default => cell(default),
    }
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Template => "template".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Integer { low, high } => format!("{low} to {high}"),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Address => "address".to_owned(),
        Kind::Statuses => "statuses".to_owned(),
        Kind::Rate => "rate".to_owned(),
        Kind::Outcomes => "list: `connect`, `timeout`, statuses".to_owned(),
        Kind::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Kind::List(item) => format!("list: {}", self::kind(*item)),
        Kind::Map => "map".to_owned(),
        Kind::Names => "map of names".to_owned(),
        Kind::Headers => "map: header to template".to_owned(),
        Kind::Texts => "map: header to text".to_owned(),
        Kind::Bindings => "map: exchange to routing keys".to_owned(),
        Kind::Arguments => "map: AMQP arguments".to_owned(),
        Kind::Either(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|kind| self::kind(*kind)).collect();
            kinds.join(" or ")
        }
    }
}
