//! What a caller asks for: the query of a list, the JSON of a replay or discard.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::{
    admin::order::{bad, decoded},
    amqp::parked::{Deed, Destination, Filter, Job, Pace},
    policy::StatusSet,
    server::Problem,
};

/// The most messages of one call.
const MOST: u64 = 1000;

/// Which messages.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) ids: Vec<String>,
    pub(super) reason: Option<String>,
    pub(super) status: Option<String>,
    pub(super) older_than: Option<String>,
    pub(super) newer_than: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) limit: Option<u64>,
}

/// The body of a replay or discard.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Order {
    all: bool,
    id: Vec<String>,
    reason: Option<String>,
    status: Option<String>,
    older_than: Option<String>,
    newer_than: Option<String>,
    header: BTreeMap<String, String>,
    limit: Option<u64>,
    pub(super) dry_run: bool,
    rate: Option<String>,
    to: Option<To>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct To {
    queue: Option<String>,
    exchange: Option<String>,
    routing_key: Option<String>,
}

// === impl Wanted ===

impl Wanted {
    pub(super) fn from_query(query: &str) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(&value.replace('+', " "))?;
            match name {
                "id" => wanted.ids.push(value),
                "reason" => wanted.reason = Some(value),
                "status" => wanted.status = Some(value),
                "older_than" => wanted.older_than = Some(value),
                "newer_than" => wanted.newer_than = Some(value),
                "header" => match value.split_once('=') {
                    Some((name, value)) => {
                        wanted.headers.push((name.to_owned(), value.to_owned()));
                    }
                    None => return Err(bad("`header` is `NAME=VALUE`, percent-encoded")),
                },
                "limit" => {
                    let number = value.parse().map_err(|_| bad("`limit` is a number"))?;
                    wanted.limit = Some(number);
                }
                other => {
                    return Err(bad(format!(
                        "there is no `{other}`; there are id, reason, status, older_than, newer_than, header and limit"
                    )));
                }
            }
        }
        Ok(wanted)
    }

    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        let status = self.status.as_deref().map(|words| {
            let words = words.split([' ', ',']).filter(|word| !word.is_empty());
            StatusSet::parse(words).map_err(|error| bad(format!("`status`: {error}")))
        });
        Ok(Filter {
            ids: self.ids.clone(),
            reason: self.reason.clone(),
            status: status.transpose()?,
            older_than: duration("older_than", self.older_than.as_deref())?,
            newer_than: duration("newer_than", self.newer_than.as_deref())?,
            headers: self.headers.clone(),
        })
    }

    pub(super) fn limit(&self, default: u64) -> Result<u64, Problem> {
        match self.limit.unwrap_or(default) {
            limit @ 1..=MOST => Ok(limit),
            _ => Err(bad(format!("`limit` is from 1 to {MOST}"))),
        }
    }
}

// === impl Order ===

impl Order {
    /// An empty body is an empty order, which says nothing of which messages are meant.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(body).map_err(|error| bad(format!("the body: {error}")))
    }

    pub(super) fn job(&self, queue: String, deed: Deed) -> Result<Job, Problem> {
        let wanted = Wanted {
            ids: self.id.clone(),
            reason: self.reason.clone(),
            status: self.status.clone(),
            older_than: self.older_than.clone(),
            newer_than: self.newer_than.clone(),
            headers: self.header.clone().into_iter().collect(),
            limit: self.limit,
        };
        let filter = wanted.filter()?;
        if filter.is_all() && !self.all {
            return Err(bad(
                "nothing says which messages are meant: add a filter such as `reason`, or `\"all\": true`",
            ));
        }
        Ok(Job {
            queue,
            filter,
            limit: Some(wanted.limit(MOST)?),
            deed,
        })
    }

    pub(super) fn to(&self) -> Result<Destination, Problem> {
        let Some(to) = &self.to else {
            return Ok(Destination::Origin);
        };
        match (&to.queue, &to.exchange, &to.routing_key) {
            (Some(queue), None, None) => Ok(Destination::Queue(queue.clone())),
            (None, Some(name), routing_key) => Ok(Destination::Exchange {
                name: name.clone(),
                routing_key: routing_key.clone(),
            }),
            _ => Err(bad(
                "`to` is `{\"queue\": …}` or `{\"exchange\": …, \"routing_key\": …}`",
            )),
        }
    }

    pub(super) fn pace(&self) -> Result<Option<Pace>, Problem> {
        let rate = self.rate.as_deref().map(str::parse::<Pace>);
        let bad = |error| self::bad(format!("`rate`: {error}"));
        rate.transpose().map_err(bad)
    }

    /// # Errors
    /// It says where to, or how fast, to something that goes nowhere.
    pub(super) fn without_way(&self) -> Result<(), Problem> {
        match (&self.to, &self.rate) {
            (None, None) => Ok(()),
            _ => Err(bad("a discard takes no `to` and no `rate`")),
        }
    }
}

fn duration(name: &str, text: Option<&str>) -> Result<Option<Duration>, Problem> {
    let parse = |text| {
        humantime::parse_duration(text).map_err(|_| {
            bad(format!(
                "`{name}` is a duration such as `30m`, `2h` or `7d`"
            ))
        })
    };
    text.map(parse).transpose()
}
