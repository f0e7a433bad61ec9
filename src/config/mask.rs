//! Which pieces of a source line are secrets that somebody wrote out, so that no diagnostic shows
//! them.

use std::ops::Range;

use super::raw::Source;

/// Keys, or the ends of their names, whose values are not shown.
const SECRET: [&str; 6] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
];
const MASK: &str = "***";

/// The secrets of a line (from 1), in characters from 0, in order and apart.
pub(super) fn secrets(source: &Source, line: usize) -> Vec<Range<usize>> {
    let lines = source.text.lines().take(line).collect::<Vec<_>>();
    let Some((text, above)) = lines.split_last().filter(|_| lines.len() == line) else {
        return Vec::new();
    };
    let text = text.chars().collect::<Vec<_>>();
    if continues_secret(&text, above) {
        let indent = indent(&text);
        return std::iter::once(indent..text.len().max(indent)).collect();
    }
    let mut found = values(&text);
    for password in passwords(&text) {
        if !found.iter().any(|range| range.contains(&password.start)) {
            found.push(password);
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

/// A text for people, with the passwords of its URLs left out.
pub(super) fn masked(text: &str) -> String {
    let text = text.chars().collect::<Vec<_>>();
    let found = passwords(&text);
    let mut shown = String::new();
    for (index, char) in text.iter().enumerate() {
        match found.iter().find(|range| range.contains(&index)) {
            Some(range) if range.start == index => shown.push_str(MASK),
            Some(_) => {}
            None => shown.push(*char),
        }
    }
    shown
}

fn indent(text: &[char]) -> usize {
    text.iter().take_while(|c| c.is_whitespace()).count()
}

/// Whether the line belongs to a value that began below a secret's key.
fn continues_secret(text: &[char], above: &[&str]) -> bool {
    let depth = indent(text);
    if text.len() == depth {
        return false;
    }
    let parent = above
        .iter()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .find(|line| line.chars().take_while(|c| c.is_whitespace()).count() < depth);
    let Some(parent) = parent else { return false };
    let parent = parent.chars().collect::<Vec<_>>();
    // A flow map that goes on here, or a map of its own, is shown as any other line.
    let after = keys(&parent).last().copied();
    after.is_some_and(|after| {
        let value = parent.get(after..).unwrap_or_default();
        !value.iter().any(|c| matches!(c, '{' | '['))
    })
}

/// Where the values of secret keys begin: behind `password: `, `"password": ` or `password=`.
fn keys(text: &[char]) -> Vec<usize> {
    let lower = text.iter().map(char::to_ascii_lowercase);
    let lower = lower.collect::<Vec<_>>();
    let mut found = Vec::new();
    for word in SECRET {
        let word = word.chars().collect::<Vec<_>>();
        for at in 0..lower.len() {
            let end = at + word.len();
            if lower.get(at..end) != Some(word.as_slice()) {
                continue;
            }
            let rest = text.get(end..).unwrap_or_default();
            let mut after = end + usize::from(matches!(rest.first(), Some('"' | '\'')));
            while text.get(after) == Some(&' ') {
                after += 1;
            }
            if matches!(text.get(after), Some(':' | '=')) {
                found.push(after + 1);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn values(text: &[char]) -> Vec<Range<usize>> {
    let mut found = Vec::<Range<usize>>::new();
    for after in keys(text) {
        let start = after + indent(text.get(after..).unwrap_or_default());
        if found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let end = value_end(text, start);
        let value = text.get(start..end).unwrap_or_default();
        if !value.is_empty() && !is_reference(value) {
            found.push(start..end);
        }
    }
    found
}

/// Up to the quote that closes, to the end of an item of a flow map, or to the end of the line.
fn value_end(text: &[char], start: usize) -> usize {
    let in_flow = text
        .get(..start)
        .is_some_and(|before| before.contains(&'{'));
    let quote = text.get(start).filter(|c| matches!(c, '"' | '\''));
    let mut depth = 0_usize;
    let mut index = start + usize::from(quote.is_some());
    while let Some(char) = text.get(index) {
        match (char, quote) {
            ('\\', Some('"')) => index += 1,
            ('\'', Some('\'')) if text.get(index + 1) == Some(&'\'') => index += 1,
            (char, Some(quote)) if char == quote => return index + 1,
            ('{', None) => depth += 1,
            ('}', None) if depth > 0 => depth -= 1,
            ('}' | ',', None) if in_flow && depth == 0 => return index,
            _ => {}
        }
        index += 1;
    }
    text.len()
}

/// `${NAME}` or `${file:…}`, with or without quotes: nothing secret is written out.
fn is_reference(value: &[char]) -> bool {
    let value = value.iter().collect::<String>();
    let value = value.trim().trim_matches(['"', '\'']);
    let Some(inner) = value
        .strip_prefix("${")
        .and_then(|value| value.strip_suffix('}'))
    else {
        return matches!(value, "" | "|" | ">" | "|-" | ">-");
    };
    !inner.contains([':', '$', '}']) || inner.starts_with("file:") && !inner.contains(['$', '}'])
}

/// The passwords of URLs: what stands between `scheme://user:` and the last `@`.
fn passwords(text: &[char]) -> Vec<Range<usize>> {
    let mut found = Vec::<Range<usize>>::new();
    for at in 0..text.len() {
        if text.get(at..at + 3) != Some(&[':', '/', '/']) {
            continue;
        }
        if found.last().is_some_and(|last| at < last.end) {
            continue;
        }
        let host = at + 3;
        let Some(colon) = position(text, host, |c| c == ':' || c == '@' || c.is_whitespace())
            .filter(|colon| text.get(*colon) == Some(&':'))
        else {
            continue;
        };
        let port = position(text, colon + 1, |c| !c.is_ascii_digit());
        let is_port = port.is_none_or(|end| {
            end > colon + 1 && !matches!(text.get(end), Some(c) if c.is_alphanumeric() || *c == '@')
        });
        let word = position(text, colon, char::is_whitespace).unwrap_or(text.len());
        let last = |end: usize| (colon..end).rev().find(|i| text.get(*i) == Some(&'@'));
        // A password with a space in it is a mistake, and no reason to show it.
        let end = last(word).or_else(|| last(if is_port { word } else { text.len() }));
        if let Some(end) = end {
            found.push(colon + 1..end);
        }
    }
    found.retain(|range| !range.is_empty());
    found
}

fn position(text: &[char], from: usize, is: impl Fn(char) -> bool) -> Option<usize> {
    (from..text.len()).find(|index| text.get(*index).copied().is_some_and(&is))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let source = Source {
            name: String::new(),
            text: text.to_owned(),
        };
        let number = text.lines().count();
        let line = text.lines().last().unwrap().chars().collect::<Vec<_>>();
        let mut out = String::new();
        let found = secrets(&source, number);
        for (index, char) in line.iter().enumerate() {
            match found.iter().find(|range| range.contains(&index)) {
                Some(range) if range.start == index => out.push_str(MASK),
                Some(_) => {}
                None => out.push(*char),
            }
        }
        out
    }

    #[test]
    fn values_of_secret_keys_are_masked() {
        assert_eq!(shown("  password: hunter2"), "  password: ***");
        assert_eq!(shown("password: a, b}c # d"), "password: ***");
        assert_eq!(
            shown("a: { password: x{y}z, b: c }"),
            "a: { password: ***, b: c }"
        );
        assert_eq!(
            shown("{ \"password\": 'it''s', b: c }"),
            "{ \"password\": ***, b: c }"
        );
        assert_eq!(shown("password: \"a\\\"b\" # c"), "password: *** # c");
        assert_eq!(shown("amqp.password=hunter2"), "amqp.password=***");
        assert_eq!(shown("Authorization: Bearer abc"), "Authorization: ***");
        assert_eq!(shown("password: ${PW:-hunter2}"), "password: ***");
        assert_eq!(shown("password:\n  hunter2"), "  ***");
        assert_eq!(shown("password: |\n  hunter2\n  hunter3"), "  ***");
        assert_eq!(shown("password: \"hunter\n  2\""), "  ***");
    }

    #[test]
    fn references_and_other_values_are_shown() {
        for line in [
            "password: ${PW}",
            "password: '${file:/run/secrets/pw}'",
            "password:",
            "user: guest",
            "http: http://h:80/x # me@example.org",
            "http: http://h/a@b",
            "hosts: [amqp://h:5672]",
        ] {
            assert_eq!(shown(line), line);
        }
        assert_eq!(shown("password: x\nuser: guest"), "user: guest");
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        assert_eq!(shown("url: amqp://u:p@h/v"), "url: amqp://u:***@h/v");
        assert_eq!(
            shown("url: ${A:-amqp://u:p@h}"),
            "url: ${A:-amqp://u:***@h}"
        );
        assert_eq!(shown("url: amqp://u:p/w@x@h"), "url: amqp://u:***@h");
        assert_eq!(shown("url: amqp://u:p w@h"), "url: amqp://u:***@h");
        assert_eq!(shown("url: amqp://u:123@h"), "url: amqp://u:***@h");
        assert_eq!(masked("write \"amqp://u:p@h\""), "write \"amqp://u:***@h\"");
    }
}
