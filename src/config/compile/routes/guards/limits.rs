//! `limits`: how many calls a route takes, or makes.

use std::time::Duration;

use super::super::super::{section::Section, values};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Limits, Rate},
    raw::Place,
};

/// The limits of a route towards a backend, and where they stand.
#[derive(Default)]
pub(in super::super) struct Paced<'a> {
    pub(in super::super) limits: Limits,
    pub(in super::super) concurrency: Option<&'a Place>,
    pub(in super::super) rate: Option<&'a Place>,
    /// How long a message should wait for its turn at most; known when the target's timeout is.
    pub(in super::super) turn: Duration,
}

/// What comes at once after a pause, where nothing is said.
#[derive(Clone, Copy)]
enum Burst {
    /// What one second brings: callers do not come evenly.
    OneSecond,
    /// One: a backend is called at an even pace.
    One,
}

pub(super) fn inbound(section: &mut Section<'_>, out: &mut Diagnostics) -> Limits {
    limits(section, 1_000_000, Burst::OneSecond, out).limits
}

pub(in super::super) fn deliver<'a>(section: &mut Section<'a>, out: &mut Diagnostics) -> Paced<'a> {
    limits(section, 10_000, Burst::One, out)
}

fn limits<'a>(
    section: &mut Section<'a>,
    most: usize,
    burst: Burst,
    out: &mut Diagnostics,
) -> Paced<'a> {
    let mut paced = Paced::default();
    let Some(mut section) = section
        .get("limits", out)
        .and_then(|node| Section::open(node, "routes.*.limits", out))
    else {
        return paced;
    };
    if let Some(node) = section.get("concurrency", out) {
        paced.limits.concurrency = values::integer(node, 1, most, out);
        paced.concurrency = Some(&node.place);
    }
    let rate = section.get("rate", out);
    let given = section.get("burst", out);
    if let (None, Some(key)) = (rate, section.key("burst")) {
        let help = "it is how many calls may come at once within a rate; write `rate` too, such as `100/s`, or `concurrency` for calls at once";
        out.error(&key.place, "`burst` without `rate`", help);
    }
    let given = given.and_then(|node| values::integer(node, 1, 1_000_000, out));
    if let Some(node) = rate {
        paced.rate = Some(&node.place);
        paced.limits.rate = values::rate(node, out).map(|interval| Rate {
            interval,
            burst: given.unwrap_or_else(|| burst.of(interval)),
        });
    }
    section.finish(out);
    paced
}

// === impl Burst ===

impl Burst {
    fn of(self, interval: Duration) -> u32 {
        let a_second = Duration::from_secs(1).as_nanos() / interval.as_nanos().max(1);
        match self {
            Self::OneSecond => u32::try_from(a_second).unwrap_or(u32::MAX).max(1),
            Self::One => 1,
        }
    }
}
