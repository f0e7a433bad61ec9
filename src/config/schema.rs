//! The JSON Schema of the configuration, made from the table of keys.
//!
//! It is as wide as a single file may be: what another layer can bring (`from`, `to`) is not
//! required, and every scalar may be a `${…}`. What only shows in the whole is for `hareway check`.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Kind};

/// A `${…}` may stand in any scalar.
const INTERPOLATED: &str = r"\$\{";

/// The whole schema (draft 2020-12).
pub fn schema() -> Value {
    let mut schema = object("");
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("Hareway configuration"));
    Value::Object(schema)
}

/// The map at a path: its keys and no others.
fn object(path: &str) -> Map<String, Value> {
    let properties: Map<String, Value> = keys::entries(path)
        .map(|key| (key.name().to_owned(), property(key)))
        .collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("properties".to_owned(), Value::Object(properties));
    object.insert("additionalProperties".to_owned(), json!(false));
    object
}

/// A key's value, with what an editor shows of it.
fn property(key: &Key) -> Value {
    let mut described = Map::new();
    let description = match key.default {
        "" => key.doc.to_owned(),
        default => format!("{}\n\nDefault: {default}", key.doc),
    };
    described.insert("description".to_owned(), json!(description));
    if let Some(default) = default(key) {
        described.insert("default".to_owned(), default);
    }
    if let Ok(example) = serde_yaml::from_str::<Value>(key.example) {
        described.insert("examples".to_owned(), json!([example]));
    }
    if let Value::Object(form) = form(key.kind, key.path) {
        described.extend(form);
    }
    Value::Object(described)
}

/// The default as a value, where it is one and not an explanation.
fn default(key: &Key) -> Option<Value> {
    let literal = match key.kind {
        Kind::Boolean | Kind::Address => true,
        Kind::Words(words) => words.contains(&key.default),
        Kind::Integer { .. } => key.default.parse::<u64>().is_ok(),
        Kind::Duration | Kind::Size => key.default.starts_with(|c: char| c.is_ascii_digit()),
        Kind::Statuses | Kind::Outcomes | Kind::List(_) => key.default.starts_with('['),
        _ => false,
    };
    let value = serde_yaml::from_str(key.default).ok();
    value.filter(|_| literal && !key.default.is_empty())
}

fn form(kind: Kind, path: &str) -> Value {
    match kind {
        Kind::Text | Kind::Template => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Duration => text("^[0-9]+(ms|s|m|h|d)$"),
        Kind::Size => text("^[0-9]+ ?(B|[KMG]iB|[kKMG]B)$"),
        Kind::Integer { low, high } => json!({ "anyOf": [
            { "type": "integer", "minimum": low, "maximum": high },
            text("^[0-9]+$"),
        ]}),
        Kind::Boolean => json!({ "anyOf": [{ "type": "boolean" }, text("^(true|false)$")] }),
        Kind::Address => text(":[0-9]+$"),
        Kind::Statuses => one_or_more(&json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            text("^([1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"),
        ]})),
        Kind::Rate => text("^[1-9][0-9]* ?/ ?([1-9][0-9]*)?(ms|s|m|h|d)$"),
        Kind::Outcomes => one_or_more(&json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            text("^(connect|timeout|[1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"),
        ]})),
        Kind::Words(words) => json!({ "anyOf": [
            { "enum": words },
            { "type": "string", "pattern": INTERPOLATED },
        ]}),
        Kind::List(item) => one_or_more(&form(*item, path)),
        Kind::Map => Value::Object(object(path)),
        Kind::Names => {
            let entry = format!("{path}.*");
            let entry = keys::find(&entry).map_or_else(|| json!({}), property);
            json!({ "type": "object", "additionalProperties": entry })
        }
        Kind::Headers | Kind::Texts => {
            json!({ "type": "object", "additionalProperties": form(Kind::Text, path) })
        }
        Kind::Bindings => {
            let long = Value::Object(object(BINDING));
            let binding = json!({ "anyOf": [form(Kind::Text, path), long] });
            json!({ "type": "object", "additionalProperties": one_or_more(&binding) })
        }
        Kind::Arguments => json!({ "type": "object" }),
        Kind::Either(kinds) => {
            let forms: Vec<Value> = kinds.iter().map(|kind| form(*kind, path)).collect();
            json!({ "anyOf": forms })
        }
    }
}

/// A binding looks the same wherever it stands.
const BINDING: &str = "queues.*.bind.*";

/// A text of this form, or one that an interpolation completes.
fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{pattern}|{INTERPOLATED}") })
}

/// Where a list is expected, a single value stands for a list of one.
fn one_or_more(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item }] })
}
