//! AMQP field values as text, and back: reversible for every type.
//!
//! A text that HTTP can carry stands for itself. Everything else is written `amqp:TYPE:VALUE`,
//! and so is a text that would otherwise be read as such a form. See `docs/mapping.md`.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use lapin::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde_json::Value as Json;

const PREFIX: &str = "amqp:";
/// Tables and arrays nested deeper than this have no text form, neither written nor read: forms
/// stand in forms, and what a caller nests must stay within what later stages can carry.
const MAX_DEPTH: usize = 64;
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The text form, fit for an HTTP header value; `None` only for values nested too deep.
pub fn write(value: &AMQPValue) -> Option<Vec<u8>> {
    match value {
        AMQPValue::LongString(text) if is_plain(text.as_bytes()) => Some(text.as_bytes().to_vec()),
        other => typed(other).map(String::into_bytes),
    }
}

/// The value that `text` is the form of; a text without a valid form is a long string.
pub fn read(text: &[u8]) -> AMQPValue {
    read_at(text, 0)
}

/// A value for people and templates: text and numbers as they are, without any type.
pub fn plain(value: &AMQPValue) -> Option<Cow<'_, str>> {
    Some(match value {
        AMQPValue::LongString(text) => Cow::Borrowed(std::str::from_utf8(text.as_bytes()).ok()?),
        AMQPValue::ShortString(text) => Cow::Borrowed(text.as_str()),
        AMQPValue::Boolean(value) => Cow::Owned(value.to_string()),
        AMQPValue::Float(value) => Cow::Owned(value.to_string()),
        AMQPValue::Double(value) => Cow::Owned(value.to_string()),
        other => Cow::Owned(number(other)?.to_string()),
    })
}

/// An integer, also when it is written in digits.
pub fn integer(value: &AMQPValue) -> Option<i128> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        AMQPValue::ShortString(text) => text.as_str().parse().ok(),
        other => number(other),
    }
}

/// The bytes a table takes in a frame (AMQP 0-9-1, 4.2.5.5), its length included.
pub fn table_size(table: &FieldTable) -> usize {
    let entries = table
        .into_iter()
        .map(|(name, value)| 1 + name.as_str().len() + value_size(value));
    4 + entries.sum::<usize>()
}

/// The bytes a value takes in a frame, its type octet included.
pub fn value_size(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.len(),
        AMQPValue::FieldArray(items) => 4 + items.as_slice().iter().map(value_size).sum::<usize>(),
        AMQPValue::FieldTable(table) => table_size(table),
    }
}

/// Whether the bytes can stand for themselves: allowed in a field value (RFC 9110 5.5), not
/// trimmed on the way, and not to be taken for a typed form.
fn is_plain(text: &[u8]) -> bool {
    let allowed = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_form = || parse(text, 0).is_some();
    text.iter().all(allowed) && !blank(text.first()) && !blank(text.last()) && !is_form()
}

fn number(value: &AMQPValue) -> Option<i128> {
    Some(match value {
        AMQPValue::ShortShortInt(value) => i128::from(*value),
        AMQPValue::ShortShortUInt(value) => i128::from(*value),
        AMQPValue::ShortInt(value) => i128::from(*value),
        AMQPValue::ShortUInt(value) => i128::from(*value),
        AMQPValue::LongInt(value) => i128::from(*value),
        AMQPValue::LongUInt(value) => i128::from(*value),
        AMQPValue::LongLongInt(value) => i128::from(*value),
        AMQPValue::Timestamp(value) => i128::from(*value),
        _ => return None,
    })
}

// === Writing ===

/// `amqp:TYPE:VALUE`, in visible ASCII.
fn typed(value: &AMQPValue) -> Option<String> {
    let (kind, text) = match value {
        AMQPValue::Void => return Some(format!("{PREFIX}void")),
        AMQPValue::Boolean(value) => ("bool", value.to_string()),
        AMQPValue::ShortShortInt(value) => ("i8", value.to_string()),
        AMQPValue::ShortShortUInt(value) => ("u8", value.to_string()),
        AMQPValue::ShortInt(value) => ("i16", value.to_string()),
        AMQPValue::ShortUInt(value) => ("u16", value.to_string()),
        AMQPValue::LongInt(value) => ("i32", value.to_string()),
        AMQPValue::LongUInt(value) => ("u32", value.to_string()),
        AMQPValue::LongLongInt(value) => ("i64", value.to_string()),
        AMQPValue::Timestamp(value) => ("time", value.to_string()),
        // A NaN carries bits that its usual text would lose.
        AMQPValue::Float(value) if value.is_nan() => ("f32", format!("{:#x}", value.to_bits())),
        AMQPValue::Float(value) => ("f32", format!("{value:?}")),
        AMQPValue::Double(value) if value.is_nan() => ("f64", format!("{:#x}", value.to_bits())),
        AMQPValue::Double(value) => ("f64", format!("{value:?}")),
        AMQPValue::DecimalValue(DecimalValue { scale, value }) => {
            ("decimal", format!("{scale}:{value}"))
        }
        AMQPValue::ShortString(text) => ("short", escape(text.as_str().as_bytes())),
        AMQPValue::LongString(text) => ("text", escape(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => ("bytes", STANDARD.encode(bytes.as_slice())),
        AMQPValue::FieldArray(_) => ("array", ascii(&to_json(value, 0)?.to_string())),
        AMQPValue::FieldTable(_) => ("table", ascii(&to_json(value, 0)?.to_string())),
    };
    Some(format!("{PREFIX}{kind}:{text}"))
}

/// Arrays and tables as JSON; everything in them that is not text as a string of its typed form.
fn to_json(value: &AMQPValue, depth: usize) -> Option<Json> {
    if depth >= MAX_DEPTH {
        return None;
    }
    Some(match value {
        AMQPValue::FieldArray(items) => Json::Array(
            items
                .as_slice()
                .iter()
                .map(|item| to_json(item, depth + 1))
                .collect::<Option<_>>()?,
        ),
        AMQPValue::FieldTable(table) => Json::Object(
            table
                .into_iter()
                .map(|(name, item)| Some((name.as_str().to_owned(), to_json(item, depth + 1)?)))
                .collect::<Option<_>>()?,
        ),
        AMQPValue::LongString(text) => Json::String(match std::str::from_utf8(text.as_bytes()) {
            Ok(text) if parse(text.as_bytes(), depth).is_none() => text.to_owned(),
            _ => typed(value)?,
        }),
        other => Json::String(typed(other)?),
    })
}

fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, ESCAPED).to_string()
}

/// JSON with every character beyond ASCII escaped (RFC 8259, 7).
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        let mut units = [0u16; 2];
        for unit in character.encode_utf16(&mut units) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

// === Reading ===

fn read_at(text: &[u8], depth: usize) -> AMQPValue {
    parse(text, depth).unwrap_or_else(|| AMQPValue::LongString(LongString::from(text)))
}

/// The value of a typed form that stands in so many arrays and tables; `None` for every other text.
fn parse(text: &[u8], depth: usize) -> Option<AMQPValue> {
    let text = text.strip_prefix(PREFIX.as_bytes())?;
    let text = std::str::from_utf8(text).ok()?;
    if text == "void" {
        return Some(AMQPValue::Void);
    }
    let (kind, text) = text.split_once(':')?;
    Some(match kind {
        "bool" => AMQPValue::Boolean(text.parse().ok()?),
        "i8" => AMQPValue::ShortShortInt(text.parse().ok()?),
        "u8" => AMQPValue::ShortShortUInt(text.parse().ok()?),
        "i16" => AMQPValue::ShortInt(text.parse().ok()?),
        "u16" => AMQPValue::ShortUInt(text.parse().ok()?),
        "i32" => AMQPValue::LongInt(text.parse().ok()?),
        "u32" => AMQPValue::LongUInt(text.parse().ok()?),
        "i64" => AMQPValue::LongLongInt(text.parse().ok()?),
        "time" => AMQPValue::Timestamp(text.parse().ok()?),
        "f32" => AMQPValue::Float(match text.strip_prefix("0x") {
            Some(bits) => f32::from_bits(u32::from_str_radix(bits, 16).ok()?),
            None => text.parse().ok()?,
        }),
        "f64" => AMQPValue::Double(match text.strip_prefix("0x") {
            Some(bits) => f64::from_bits(u64::from_str_radix(bits, 16).ok()?),
            None => text.parse().ok()?,
        }),
        "decimal" => {
            let (scale, value) = text.split_once(':')?;
            AMQPValue::DecimalValue(DecimalValue {
                scale: scale.parse().ok()?,
                value: value.parse().ok()?,
            })
        }
        "short" => {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            AMQPValue::ShortString(ShortString::try_new(text).ok()?)
        }
        "text" => AMQPValue::LongString(percent_decode_str(text).collect::<Vec<u8>>().into()),
        "bytes" => AMQPValue::ByteArray(ByteArray::from(STANDARD.decode(text).ok()?)),
        "array" | "table" => {
            let value = from_json(serde_json::from_str(text).ok()?, depth)?;
            let fits = matches!(
                (kind, &value),
                ("array", AMQPValue::FieldArray(_)) | ("table", AMQPValue::FieldTable(_))
            );
            fits.then_some(value)?
        }
        _ => return None,
    })
}

fn from_json(json: Json, depth: usize) -> Option<AMQPValue> {
    if depth >= MAX_DEPTH {
        return None;
    }
    Some(match json {
        Json::Null => AMQPValue::Void,
        Json::Bool(value) => AMQPValue::Boolean(value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => AMQPValue::LongLongInt(value),
            None => AMQPValue::Double(number.as_f64()?),
        },
        Json::String(text) => read_at(text.as_bytes(), depth),
        Json::Array(items) => AMQPValue::FieldArray(FieldArray::from(
            items
                .into_iter()
                .map(|item| from_json(item, depth + 1))
                .collect::<Option<Vec<_>>>()?,
        )),
        Json::Object(entries) => {
            let mut table = FieldTable::default();
            for (name, item) in entries {
                table.insert(
                    ShortString::try_new(name).ok()?,
                    from_json(item, depth + 1)?,
                );
            }
            AMQPValue::FieldTable(table)
        }
    })
}
