//! Which messages are meant.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::Facts;
use crate::{
    message::{Message, field},
    policy::StatusSet,
};

/// All that is given must hold; of `ids` one.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub ids: Vec<String>,
    pub reason: Option<String>,
    pub status: Option<StatusSet>,
    /// Parked at least so long ago.
    pub older_than: Option<Duration>,
    /// Parked less than so long ago.
    pub newer_than: Option<Duration>,
    /// Names and values as text.
    pub headers: Vec<(String, String)>,
}

impl Filter {
    /// Whether every message is meant.
    pub fn is_all(&self) -> bool {
        let Self {
            ids,
            reason,
            status,
            older_than,
            newer_than,
            headers,
        } = self;
        ids.is_empty()
            && reason.is_none()
            && status.is_none()
            && older_than.is_none()
            && newer_than.is_none()
            && headers.is_empty()
    }

    /// A message that does not say what a filter asks for is not meant.
    pub fn matches(&self, message: &Message, facts: &Facts, now: SystemTime) -> bool {
        let id = |id: &String| facts.id.as_ref() == Some(id);
        let status = |set: &StatusSet| {
            let status = facts
                .status
                .and_then(|code| StatusCode::from_u16(code).ok());
            status.is_some_and(|status| set.contains(status))
        };
        let age = facts.age(now);
        (self.ids.is_empty() || self.ids.iter().any(id))
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| facts.reason.as_ref() == Some(reason))
            && self.status.as_ref().is_none_or(status)
            && self
                .older_than
                .is_none_or(|least| age.is_some_and(|age| age >= least))
            && self
                .newer_than
                .is_none_or(|most| age.is_some_and(|age| age < most))
            && self
                .headers
                .iter()
                .all(|(name, value)| has(message, name, value))
    }
}

/// Names as in the message, or in another case.
fn has(message: &Message, name: &str, value: &str) -> bool {
    let table = message.properties.headers().iter().flatten();
    table
        .filter(|(key, _)| key.as_str().eq_ignore_ascii_case(name))
        .filter_map(|(_, value)| field::plain(value))
        .any(|text| text == value)
}
