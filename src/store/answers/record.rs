//! A key's record as bytes, and back.
//!
//! A CRC-32 of all that follows it, a version, when the key expires, the fingerprint, the message
//! id, and, once there is one, the answer: status, headers, body. Integers are little-endian.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lapin::types::ShortString;

use super::{Answer, Digest};
use crate::store::record::{Reader, seal};

const VERSION: u8 = 1;
/// Behind CRC and version.
const EXPIRES_AT: usize = 5;
const BEGUN: u8 = 0;
const ANSWERED: u8 = 1;

/// What is kept of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Microseconds since the Unix epoch.
    pub(super) expires: u64,
    pub(super) fingerprint: Digest,
    pub(super) message_id: ShortString,
    /// `None`: the call has begun.
    pub(super) answer: Option<Answer>,
}

impl Record {
    /// `None`: the answer has more than 65535 headers, or one over 4 GiB.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let body = self.answer.as_ref().map_or(0, |answer| answer.body.len());
        let mut out = Vec::with_capacity(256 + body);
        // The place of the CRC.
        out.extend([0; 4]);
        out.push(VERSION);
        out.extend(self.expires.to_le_bytes());
        out.extend(self.fingerprint);
        let id = self.message_id.as_str().as_bytes();
        out.push(u8::try_from(id.len()).ok()?);
        out.extend(id);
        match &self.answer {
            None => out.push(BEGUN),
            Some(answer) => {
                out.push(ANSWERED);
                write_answer(&mut out, answer)?;
            }
        }
        seal(&mut out)?;
        Some(out)
    }

    /// When an encoded record expires, without reading all of it.
    pub(super) fn expires_of(record: &[u8]) -> Option<u64> {
        let expires = record.get(EXPIRES_AT..)?.first_chunk()?;
        Some(u64::from_le_bytes(*expires))
    }

    /// `None`: it is damaged, or of a later version.
    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let (crc, rest) = record.split_first_chunk()?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut reader = Reader::new(rest);
        if reader.u8()? != VERSION {
            return None;
        }
        Some(Self {
            expires: reader.u64()?,
            fingerprint: reader.array()?,
            message_id: reader.short()?,
            answer: match reader.u8()? {
                BEGUN => None,
                ANSWERED => Some(read_answer(reader)?),
                _ => return None,
            },
        })
    }
}

fn write_answer(out: &mut Vec<u8>, answer: &Answer) -> Option<()> {
    out.extend(answer.status.as_u16().to_le_bytes());
    out.extend(u16::try_from(answer.headers.len()).ok()?.to_le_bytes());
    for (name, value) in &answer.headers {
        for text in [name.as_str().as_bytes(), value.as_bytes()] {
            out.extend(u32::try_from(text.len()).ok()?.to_le_bytes());
            out.extend(text);
        }
    }
    out.extend_from_slice(&answer.body);
    Some(())
}

fn read_answer(mut reader: Reader<'_>) -> Option<Answer> {
    let status = StatusCode::from_u16(reader.u16()?).ok()?;
    let mut headers = HeaderMap::new();
    for _ in 0..reader.u16()? {
        let name = HeaderName::from_bytes(reader.long()?).ok()?;
        let value = HeaderValue::from_bytes(reader.long()?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(Answer {
        status,
        headers,
        body: Bytes::copy_from_slice(reader.rest()),
    })
}
