//! A message as bytes, and back, exactly.
//!
//! A record is a CRC-32 of all that follows it, a version, the time it was stored, and the message:
//! exchange, routing key, properties, headers, body. Integers are little-endian.

mod fields;
mod reader;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lapin::BasicProperties;

pub(super) use self::reader::Reader;
use crate::message::Publish;

const VERSION: u8 = 1;
/// The CRC itself is not in what it covers.
const CRC_BYTES: usize = 4;
const TIME_AT: usize = CRC_BYTES + 1;
const HEAD: usize = TIME_AT + 8;

/// The record of a message; `None`: its headers are nested deeper than [`fields::MAX_DEPTH`].
pub(super) fn encode(publish: &Publish, stored_at: SystemTime) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(HEAD + 256 + publish.body.len());
    out.extend([0; CRC_BYTES]);
    out.push(VERSION);
    out.extend(microseconds(stored_at).to_le_bytes());
    fields::write_short(&mut out, &publish.exchange);
    fields::write_short(&mut out, &publish.routing_key);
    write_properties(&mut out, &publish.properties)?;
    out.extend_from_slice(&publish.body);
    seal(&mut out)?;
    Some(out)
}

/// When it was stored, and the message; `None`: the record is damaged, or of a later version.
pub(super) fn decode(record: &[u8]) -> Option<(SystemTime, Publish)> {
    let (crc, rest) = record.split_first_chunk::<CRC_BYTES>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut reader = Reader::new(rest);
    if reader.u8()? != VERSION {
        return None;
    }
    let stored_at = time(reader.u64()?);
    let publish = Publish {
        exchange: reader.short()?,
        routing_key: reader.short()?,
        properties: read_properties(&mut reader)?,
        body: Bytes::copy_from_slice(reader.rest()),
    };
    Some((stored_at, publish))
}

/// When a record says that it was stored, in microseconds since the Unix epoch.
pub(super) fn stored_at_us(record: &[u8]) -> u64 {
    let time = record.get(TIME_AT..).and_then(<[u8]>::first_chunk);
    time.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The record as if its message were stored at `now`; `None`: it is damaged.
pub(super) fn restamped(record: &[u8], now: u64) -> Option<Vec<u8>> {
    decode(record)?;
    let mut record = record.to_vec();
    record
        .get_mut(TIME_AT..HEAD)?
        .copy_from_slice(&now.to_le_bytes());
    seal(&mut record)?;
    Some(record)
}

/// Since the Unix epoch.
pub(super) fn microseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// The time that [`microseconds`] stands for; the epoch where a clock cannot say it.
pub(super) fn time(microseconds: u64) -> SystemTime {
    let since = Duration::from_micros(microseconds);
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Puts the CRC of the rest into a record's first four bytes.
pub(super) fn seal(record: &mut [u8]) -> Option<()> {
    let (crc, rest) = record.split_first_chunk_mut::<CRC_BYTES>()?;
    *crc = crc32fast::hash(rest).to_le_bytes();
    Some(())
}

// === Properties ===

/// A bit for each property that there is, in the order of AMQP 0-9-1 1.8.3, then their values.
fn write_properties(out: &mut Vec<u8>, properties: &BasicProperties) -> Option<()> {
    let flags_at = out.len();
    out.extend([0; 2]);
    let mut flags = 0u16;
    let mut mark = |bit: u16| flags |= 1 << bit;
    let texts = [
        (0, properties.content_type()),
        (1, properties.content_encoding()),
        (5, properties.correlation_id()),
        (6, properties.reply_to()),
        (7, properties.expiration()),
        (8, properties.message_id()),
        (10, properties.kind()),
        (11, properties.user_id()),
        (12, properties.app_id()),
        (13, properties.cluster_id()),
    ];
    for (bit, text) in texts {
        if let Some(text) = text {
            mark(bit);
            fields::write_short(out, text);
        }
    }
    for (bit, octet) in [(3, properties.delivery_mode()), (4, properties.priority())] {
        if let Some(octet) = octet {
            mark(bit);
            out.push(*octet);
        }
    }
    if let Some(timestamp) = properties.timestamp() {
        mark(9);
        out.extend(timestamp.to_le_bytes());
    }
    if let Some(headers) = properties.headers() {
        mark(2);
        fields::write_table(out, headers, 0)?;
    }
    out.get_mut(flags_at..flags_at + 2)?
        .copy_from_slice(&flags.to_le_bytes());
    Some(())
}

fn read_properties(reader: &mut Reader<'_>) -> Option<BasicProperties> {
    let flags = reader.u16()?;
    let has = |bit: u16| flags & (1 << bit) != 0;
    let mut properties = BasicProperties::default();
    for (bit, set) in TEXTS {
        if has(bit) {
            properties = set(properties, reader.short()?);
        }
    }
    if has(3) {
        properties = properties.with_delivery_mode(reader.u8()?);
    }
    if has(4) {
        properties = properties.with_priority(reader.u8()?);
    }
    if has(9) {
        properties = properties.with_timestamp(reader.u64()?);
    }
    if has(2) {
        properties = properties.with_headers(fields::read_table(reader, 0)?);
    }
    Some(properties)
}

type SetText = fn(BasicProperties, lapin::types::ShortString) -> BasicProperties;

/// As [`write_properties`] orders them.
const TEXTS: [(u16, SetText); 10] = [
    (0, BasicProperties::with_content_type),
    (1, BasicProperties::with_content_encoding),
    (5, BasicProperties::with_correlation_id),
    (6, BasicProperties::with_reply_to),
    (7, BasicProperties::with_expiration),
    (8, BasicProperties::with_message_id),
    (10, BasicProperties::with_type),
    (11, BasicProperties::with_user_id),
    (12, BasicProperties::with_app_id),
    (13, BasicProperties::with_cluster_id),
];

#[cfg(test)]
mod tests;
