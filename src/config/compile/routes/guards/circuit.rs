//! `circuit`: when a backend counts as down.

use std::time::Duration;

use http::StatusCode;

use super::super::super::{section::Section, values};
use crate::{
    config::{
        diagnostic::Diagnostics,
        model::{Circuit, CircuitOn},
        raw::{Node, Value},
    },
    policy::StatusSet,
};

const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The circuit of a route that calls a backend; `success` is what that backend succeeds with.
pub(in super::super) fn circuit(
    section: &mut Section<'_>,
    success: Option<&StatusSet>,
    out: &mut Diagnostics,
) -> Option<Circuit> {
    let Some(node) = section.get("circuit", out) else {
        return Some(by_default());
    };
    match &node.value {
        Value::Scalar(scalar) if scalar.text() == "none" => None,
        Value::Scalar(scalar) => {
            let help = "write `none`, or a map such as `{ failures: 5 }`; without `circuit` it is there by default";
            let message = format!("`{}` is not a circuit", scalar.text());
            out.error(&node.place, message, help);
            None
        }
        Value::Null | Value::List(_) | Value::Map(_) => read(node, success, out),
    }
}

fn by_default() -> Circuit {
    Circuit {
        failures: 10,
        on: CircuitOn {
            connect: true,
            timeout: true,
            statuses: StatusSet::unavailable(),
        },
        pause: PAUSE,
        pause_max: PAUSE_MAX,
    }
}

fn read(node: &Node, success: Option<&StatusSet>, out: &mut Diagnostics) -> Option<Circuit> {
    let mut section = Section::open(node, "routes.*.circuit", out)?;
    let mut circuit = by_default();
    let failures = section.get("failures", out);
    circuit.failures = failures
        .and_then(|node| values::integer(node, 1, 1_000_000, out))
        .unwrap_or(circuit.failures);
    let on = section.get("on", out);
    circuit.on = on
        .and_then(|node| self::on(node, success, out))
        .unwrap_or(circuit.on);
    let pause = section.get("pause", out);
    circuit.pause = pause
        .and_then(|node| values::positive_duration(node, out))
        .unwrap_or(circuit.pause);
    circuit.pause_max = circuit.pause_max.max(circuit.pause);
    let longest = section.get("pause_max", out);
    if let Some((node, longest)) =
        longest.and_then(|node| Some((node, values::positive_duration(node, out)?)))
    {
        circuit.pause_max = longest;
        if longest < circuit.pause {
            let message = format!(
                "the longest pause, {longest:?}, is shorter than the first, {:?}",
                circuit.pause
            );
            let help = "write a longer `pause_max`, or a shorter `pause`";
            out.error(&node.place, message, help);
        }
    }
    section.finish(out);
    Some(circuit)
}

/// `connect`, `timeout` and statuses.
fn on(node: &Node, success: Option<&StatusSet>, out: &mut Diagnostics) -> Option<CircuitOn> {
    let (mut connect, mut timeout, mut statuses) = (false, false, Vec::new());
    let items = values::items(node);
    if items.is_empty() {
        let help = "it would never open; write `circuit: none`, or what it opens on: `[connect, timeout, 502-504]`";
        out.error(&node.place, "an empty list of failures", help);
    }
    for item in items {
        let word = values::text(item, out)?;
        match word.as_str() {
            "connect" => connect = true,
            "timeout" => timeout = true,
            _ => {
                let Ok(set) = StatusSet::parse([word.as_str()]) else {
                    let help = "write `connect`, `timeout`, or statuses such as `503` or `502-504`";
                    out.error(
                        &item.place,
                        format!("`{word}` is not a failure that a circuit opens on"),
                        help,
                    );
                    return None;
                };
                if success.is_some_and(|success| overlap(success, &set)) {
                    let help = "it is in `to.http.success`; remove it here or there";
                    out.error(
                        &item.place,
                        format!("`{word}` is a success and a failure at once"),
                        help,
                    );
                }
                statuses.push(word);
            }
        }
    }
    Some(CircuitOn {
        connect,
        timeout,
        statuses: StatusSet::parse(statuses.iter().map(String::as_str)).ok()?,
    })
}

fn overlap(one: &StatusSet, other: &StatusSet) -> bool {
    (100..600)
        .filter_map(|code| StatusCode::from_u16(code).ok())
        .any(|status| one.contains(status) && other.contains(status))
}
