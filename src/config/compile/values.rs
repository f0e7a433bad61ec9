//! Single values: the field that takes one decides its type.

use std::{fmt::Display, net::SocketAddr, str::FromStr, time::Duration};

use http::{HeaderName, Method};

use super::section::{kind, nearest};
use crate::{
    config::{
        diagnostic::Diagnostics,
        raw::{Node, Scalar, ScalarPart, Value},
    },
    policy::StatusSet,
    template::{self, Template},
};

/// A name at the broker: an AMQP short string, and not empty.
pub(super) const NAME_LIMIT: usize = 255;

pub(super) fn scalar<'a>(node: &'a Node, what: &str, out: &mut Diagnostics) -> Option<&'a Scalar> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar),
        Value::Null | Value::List(_) | Value::Map(_) => {
            let help = if matches!(node.value, Value::Map(_)) {
                "write a single value; one with braces needs quotes"
            } else {
                "write a single value"
            };
            out.error(
                &node.place,
                format!("expected {what}, found {}", kind(node)),
                help,
            );
            None
        }
    }
}

pub(super) fn text(node: &Node, out: &mut Diagnostics) -> Option<String> {
    scalar(node, "a text", out).map(Scalar::text)
}

/// What of a scalar may be shown.
fn shown(scalar: &Scalar) -> String {
    if scalar.is_secret() {
        "[secret]".to_owned()
    } else {
        scalar.text()
    }
}

/// Reads a scalar by `read`, whose `None` means that it is not `what`.
fn read<T>(
    node: &Node,
    what: &str,
    help: &str,
    out: &mut Diagnostics,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let scalar = scalar(node, what, out)?;
    let value = read(scalar.text().trim());
    if value.is_none() {
        out.error(
            &node.place,
            format!("`{}` is not {what}", shown(scalar)),
            help,
        );
    }
    value
}

/// A name at the broker.
pub(super) fn name(node: &Node, out: &mut Diagnostics) -> Option<String> {
    let name = text(node, out)?;
    check_name(&name, node, out).then_some(name)
}

pub(super) fn check_name(name: &str, node: &Node, out: &mut Diagnostics) -> bool {
    if name.is_empty() || name.len() > NAME_LIMIT {
        let message = format!(
            "a name has 1 to {NAME_LIMIT} bytes, this one has {}",
            name.len()
        );
        out.error(&node.place, message, "shorten it");
        return false;
    }
    true
}

/// `250ms 5s 2m 1h 7d`.
pub(super) fn duration(node: &Node, out: &mut Diagnostics) -> Option<Duration> {
    let bare = match &node.value {
        Value::Scalar(scalar) => scalar.text().trim().parse::<f64>().is_ok(),
        Value::Null | Value::List(_) | Value::Map(_) => false,
    };
    let help = if bare {
        "a duration needs its unit: `250ms`, `5s`, `2m`, `1h` or `7d`"
    } else {
        "write a whole number and a unit: `250ms`, `5s`, `2m`, `1h` or `7d`"
    };
    read(node, "a duration", help, out, parse_duration)
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let total = number.checked_mul(unit_ms)?;
    // A year and more is a mistake, and past what timers can do.
    (total <= 366 * 86_400_000).then(|| Duration::from_millis(total))
}

/// A duration that must not be zero.
pub(super) fn positive_duration(node: &Node, out: &mut Diagnostics) -> Option<Duration> {
    let duration = duration(node, out)?;
    if duration.is_zero() {
        out.error(&node.place, "a duration of zero", "write at least `1ms`");
        return None;
    }
    Some(duration)
}

/// A duration that the broker can keep: RabbitMQ has times to live in 32 bits of milliseconds.
pub(super) fn broker_duration(node: &Node, out: &mut Diagnostics) -> Option<Duration> {
    let duration = positive_duration(node, out)?;
    if duration.as_millis() > u128::from(u32::MAX) {
        let help = "its limit is a little over 49 days; write `49d` or less";
        out.error(&node.place, "longer than RabbitMQ keeps a message", help);
        return None;
    }
    Some(duration)
}

/// `64KiB 1MiB` (binary), `20MB` (decimal), `512B`.
pub(super) fn size(node: &Node, out: &mut Diagnostics) -> Option<u64> {
    let help =
        "write a whole number and a unit: `512B`, `64KiB`, `1MiB` (binary) or `20MB` (decimal)";
    read(node, "a size", help, out, parse_size)
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size that must not be zero.
pub(super) fn positive_size(node: &Node, out: &mut Diagnostics) -> Option<u64> {
    let size = size(node, out)?;
    if size == 0 {
        let help = "nothing would fit; write for example `1GiB`";
        out.error(&node.place, "a size of zero", help);
        return None;
    }
    Some(size)
}

/// `100/s 30/m 100/10s`: the time from one to the next, at least a microsecond.
pub(super) fn rate(node: &Node, out: &mut Diagnostics) -> Option<Duration> {
    let help = "write a whole number and a time: `100/s`, `30/m`, `5000/h` or `100/10s`; at most `1000000/s`";
    read(node, "a rate", help, out, parse_rate)
}

fn parse_rate(text: &str) -> Option<Duration> {
    let (number, time) = text.split_once('/')?;
    let number: u128 = number.trim_end().parse::<u32>().ok()?.into();
    let time = time.trim_start();
    let time = if time.starts_with(|c: char| c.is_ascii_digit()) {
        parse_duration(time)?
    } else {
        parse_duration(&format!("1{time}"))?
    };
    let nanos = time.as_nanos().checked_div(number)?;
    let interval = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (interval >= Duration::from_micros(1)).then_some(interval)
}

pub(super) fn boolean(node: &Node, out: &mut Diagnostics) -> Option<bool> {
    switch(node, "write `true` or `false`", out)
}

/// The same, where `help` has more to offer.
pub(super) fn switch(node: &Node, help: &str, out: &mut Diagnostics) -> Option<bool> {
    read(node, "`true` or `false`", help, out, |text| {
        text.parse().ok()
    })
}

pub(super) fn integer<T>(node: &Node, low: T, high: T, out: &mut Diagnostics) -> Option<T>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let what = format!("a whole number from {low} to {high}");
    read(node, &what, &format!("write {what}"), out, |text| {
        text.parse()
            .ok()
            .filter(|number| (low..=high).contains(number))
    })
}

/// One of a few words.
pub(super) fn word<T: Copy>(node: &Node, words: &[(&str, T)], out: &mut Diagnostics) -> Option<T> {
    let text = text(node, out)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let all: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    let help = match nearest(&text, words.iter().map(|(word, _)| *word)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write {}", all.join(" or ")),
    };
    out.error(
        &node.place,
        format!("`{text}` is not one of {}", all.join(", ")),
        help,
    );
    None
}

pub(super) fn address(node: &Node, out: &mut Diagnostics) -> Option<SocketAddr> {
    let help = "write an IP address and a port, such as `127.0.0.1:8080` or `[::]:8080`";
    read(node, "an address to listen on", help, out, |text| {
        text.parse().ok()
    })
}

pub(super) fn method(text: &str) -> Option<Method> {
    let upper = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    // CONNECT asks for a tunnel, which no queue can hold.
    Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|method| upper && *method != Method::CONNECT)
}

pub(super) fn header_name(text: &str, node: &Node, out: &mut Diagnostics) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        let help = "a header name has letters, digits and dashes (RFC 9110 §5.1)";
        out.error(&node.place, format!("`{text}` is not a header name"), help);
    }
    name
}

/// Either a list or a single value.
pub(super) fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Null | Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(node),
    }
}

/// `2xx`, `[2xx, 404]`, `502-504`.
pub(super) fn statuses(node: &Node, out: &mut Diagnostics) -> Option<StatusSet> {
    let mut words = Vec::new();
    for item in items(node) {
        let word = text(item, out)?;
        if let Err(error) = StatusSet::parse([word.as_str()]) {
            out.error(
                &item.place,
                error.to_string(),
                "write for example `[2xx, 404]` or `502-504`",
            );
            return None;
        }
        words.push(word);
    }
    StatusSet::parse(words.iter().map(String::as_str)).ok()
}

/// A template, with its mistakes shown where they are.
pub(super) fn template(node: &Node, out: &mut Diagnostics) -> Option<Template> {
    let scalar = scalar(node, "a template", out)?;
    let parts: Vec<(String, bool)> = scalar
        .parts
        .iter()
        .map(|part| {
            (
                part.as_str().to_owned(),
                !matches!(part, ScalarPart::Text(_)),
            )
        })
        .collect();
    match template::parse(&parts) {
        Ok(template) if scalar.is_secret() => Some(template.into_secret()),
        Ok(template) => Some(template),
        Err(error) => {
            let mut place = node.place.clone();
            let written = place
                .source
                .text
                .lines()
                .nth(place.line.saturating_sub(1))
                .unwrap_or_default();
            let within = parts
                .get(error.part)
                .map(|(text, _)| text.as_str())
                .unwrap_or_default();
            let wanted: String = within
                .chars()
                .skip(error.offset)
                .take(error.length)
                .collect();
            // Escapes and interpolation shift things; point at the words themselves where they are.
            let begin: String = written
                .chars()
                .skip(place.column.saturating_sub(1))
                .collect();
            if let Some(at) = begin.find(&wanted).filter(|_| !wanted.is_empty()) {
                place.column += begin.get(..at).map_or(0, |before| before.chars().count());
                place.length = error.length.max(1);
            }
            out.error(&place, error.message, error.help);
            None
        }
    }
}
