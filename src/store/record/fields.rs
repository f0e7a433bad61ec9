//! Values of a headers table. Every type of the client library has a code of its own, so that each
//! comes back as what it was; the wire's codes would not do, for brokers disagree about them.

use lapin::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
};

use super::reader::Reader;

/// Tables and arrays may be nested so deep: reading must not exhaust the stack.
pub(super) const MAX_DEPTH: usize = 256;

mod code {
    pub(super) const VOID: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const I8: u8 = 2;
    pub(super) const U8: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const U16: u8 = 5;
    pub(super) const I32: u8 = 6;
    pub(super) const U32: u8 = 7;
    pub(super) const I64: u8 = 8;
    pub(super) const FLOAT: u8 = 9;
    pub(super) const DOUBLE: u8 = 10;
    pub(super) const DECIMAL: u8 = 11;
    pub(super) const SHORT_STRING: u8 = 12;
    pub(super) const LONG_STRING: u8 = 13;
    pub(super) const TIMESTAMP: u8 = 14;
    pub(super) const BYTES: u8 = 15;
    pub(super) const ARRAY: u8 = 16;
    pub(super) const TABLE: u8 = 17;
}

pub(super) fn write_short(out: &mut Vec<u8>, text: &ShortString) {
    let bytes = text.as_str().as_bytes();
    // A short string cannot be made longer than 255 bytes.
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// `None`: it is nested too deep, or longer than a record can say.
pub(super) fn write_table(out: &mut Vec<u8>, table: &FieldTable, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    write_length(out, table.inner().len())?;
    for (name, value) in table {
        write_short(out, name);
        write_value(out, value, depth)?;
    }
    Some(())
}

pub(super) fn read_table(reader: &mut Reader<'_>, depth: usize) -> Option<FieldTable> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut table = FieldTable::default();
    for _ in 0..reader.u32()? {
        let name = reader.short()?;
        table.insert(name, read_value(reader, depth)?);
    }
    Some(table)
}

fn write_value(out: &mut Vec<u8>, value: &AMQPValue, depth: usize) -> Option<()> {
    match value {
        AMQPValue::Void => out.push(code::VOID),
        AMQPValue::Boolean(value) => out.extend([code::BOOLEAN, u8::from(*value)]),
        AMQPValue::ShortShortInt(value) => put(out, code::I8, value.to_le_bytes()),
        AMQPValue::ShortShortUInt(value) => put(out, code::U8, value.to_le_bytes()),
        AMQPValue::ShortInt(value) => put(out, code::I16, value.to_le_bytes()),
        AMQPValue::ShortUInt(value) => put(out, code::U16, value.to_le_bytes()),
        AMQPValue::LongInt(value) => put(out, code::I32, value.to_le_bytes()),
        AMQPValue::LongUInt(value) => put(out, code::U32, value.to_le_bytes()),
        AMQPValue::LongLongInt(value) => put(out, code::I64, value.to_le_bytes()),
        AMQPValue::Float(value) => put(out, code::FLOAT, value.to_bits().to_le_bytes()),
        AMQPValue::Double(value) => put(out, code::DOUBLE, value.to_bits().to_le_bytes()),
        AMQPValue::Timestamp(value) => put(out, code::TIMESTAMP, value.to_le_bytes()),
        AMQPValue::DecimalValue(DecimalValue { scale, value }) => {
            out.extend([code::DECIMAL, *scale]);
            out.extend(value.to_le_bytes());
        }
        AMQPValue::ShortString(text) => {
            out.push(code::SHORT_STRING);
            write_short(out, text);
        }
        AMQPValue::LongString(text) => write_long(out, code::LONG_STRING, text.as_bytes())?,
        AMQPValue::ByteArray(bytes) => write_long(out, code::BYTES, bytes.as_slice())?,
        AMQPValue::FieldArray(items) => {
            if depth >= MAX_DEPTH {
                return None;
            }
            out.push(code::ARRAY);
            write_length(out, items.as_slice().len())?;
            for item in items.as_slice() {
                write_value(out, item, depth + 1)?;
            }
        }
        AMQPValue::FieldTable(table) => {
            out.push(code::TABLE);
            write_table(out, table, depth + 1)?;
        }
    }
    Some(())
}

fn read_value(reader: &mut Reader<'_>, depth: usize) -> Option<AMQPValue> {
    Some(match reader.u8()? {
        code::VOID => AMQPValue::Void,
        code::BOOLEAN => AMQPValue::Boolean(reader.u8()? != 0),
        code::I8 => AMQPValue::ShortShortInt(i8::from_le_bytes(reader.array()?)),
        code::U8 => AMQPValue::ShortShortUInt(reader.u8()?),
        code::I16 => AMQPValue::ShortInt(i16::from_le_bytes(reader.array()?)),
        code::U16 => AMQPValue::ShortUInt(reader.u16()?),
        code::I32 => AMQPValue::LongInt(i32::from_le_bytes(reader.array()?)),
        code::U32 => AMQPValue::LongUInt(reader.u32()?),
        code::I64 => AMQPValue::LongLongInt(i64::from_le_bytes(reader.array()?)),
        code::FLOAT => AMQPValue::Float(f32::from_bits(reader.u32()?)),
        code::DOUBLE => AMQPValue::Double(f64::from_bits(reader.u64()?)),
        code::TIMESTAMP => AMQPValue::Timestamp(reader.u64()?),
        code::DECIMAL => AMQPValue::DecimalValue(DecimalValue {
            scale: reader.u8()?,
            value: reader.u32()?,
        }),
        code::SHORT_STRING => AMQPValue::ShortString(reader.short()?),
        code::LONG_STRING => AMQPValue::LongString(LongString::from(reader.long()?)),
        code::BYTES => AMQPValue::ByteArray(ByteArray::from(reader.long()?)),
        code::ARRAY => {
            if depth >= MAX_DEPTH {
                return None;
            }
            let mut items = FieldArray::default();
            for _ in 0..reader.u32()? {
                items.push(read_value(reader, depth + 1)?);
            }
            AMQPValue::FieldArray(items)
        }
        code::TABLE => AMQPValue::FieldTable(read_table(reader, depth + 1)?),
        _ => return None,
    })
}

fn put<const N: usize>(out: &mut Vec<u8>, code: u8, bytes: [u8; N]) {
    out.push(code);
    out.extend(bytes);
}

fn write_long(out: &mut Vec<u8>, code: u8, bytes: &[u8]) -> Option<()> {
    out.push(code);
    write_length(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Some(())
}

fn write_length(out: &mut Vec<u8>, length: usize) -> Option<()> {
    out.extend(u32::try_from(length).ok()?.to_le_bytes());
    Some(())
}
