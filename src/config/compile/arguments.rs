//! Arguments of queues, exchanges and bindings, in AMQP's own types.

use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::section::named;
use crate::config::{
    diagnostic::Diagnostics,
    raw::{Node, Value},
};

/// AMQP arguments: unquoted numbers and booleans keep their type, the rest is text.
pub(super) fn arguments(node: &Node, out: &mut Diagnostics) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in named(Some(node), "arguments", out) {
        let Ok(key) = ShortString::try_new(key.text.as_str()) else {
            out.error(
                &key.place,
                "an argument's name has at most 255 bytes",
                "shorten it",
            );
            continue;
        };
        if let Some(value) = argument(value, out) {
            table.insert(key, value);
        }
    }
    table
}

fn argument(node: &Node, out: &mut Diagnostics) -> Option<AMQPValue> {
    match &node.value {
        Value::Null => Some(AMQPValue::Void),
        Value::Map(_) => Some(AMQPValue::FieldTable(arguments(node, out))),
        Value::List(items) => {
            let values: Vec<_> = items
                .iter()
                .filter_map(|item| argument(item, out))
                .collect();
            Some(AMQPValue::FieldArray(values.into()))
        }
        Value::Scalar(scalar) => {
            let text = scalar.text();
            let plain = !scalar.quoted;
            Some(
                match (
                    text.parse::<i64>(),
                    text.parse::<bool>(),
                    text.parse::<f64>(),
                ) {
                    (Ok(number), _, _) if plain => AMQPValue::LongLongInt(number),
                    (_, Ok(flag), _) if plain => AMQPValue::Boolean(flag),
                    (_, _, Ok(number)) if plain && text.contains('.') => AMQPValue::Double(number),
                    _ => AMQPValue::LongString(text.into()),
                },
            )
        }
    }
}
