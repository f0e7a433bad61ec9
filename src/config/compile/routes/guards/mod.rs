//! `spool`, `idempotency`, `limits`, `circuit`: what stands around a route.

mod circuit;
mod idempotency;
mod limits;
mod spool;

pub(super) use circuit::circuit;
pub(super) use limits::{Paced, deliver as deliver_limits};
pub(super) use spool::of_all as spool_of_all;

use std::time::Duration;

use super::{
    super::{facts::Scope, section::Section},
    Context,
};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Answer, Idempotency, Limits, Spool},
};

/// What stands around a route that takes HTTP in.
pub(super) struct Inbound {
    pub(super) spool: Option<Spool>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) limits: Limits,
}

/// What is known of that route already.
pub(super) struct Known<'k> {
    pub(super) scope: &'k Scope,
    pub(super) answer: &'k Answer,
    pub(super) body_limit: Option<u64>,
    pub(super) confirm_timeout: Duration,
    pub(super) persistent: bool,
}

pub(super) fn inbound<'a>(
    section: &mut Section<'a>,
    known: &Known<'_>,
    context: &mut Context<'a, '_>,
) -> Inbound {
    Inbound {
        spool: spool::spool(section, known, context),
        idempotency: idempotency::idempotency(section, known, context.out),
        limits: limits::inbound(section, context.out),
    }
}

/// On a route that takes HTTP in and leaves the rest to whoever takes the message.
pub(super) fn no_circuit(section: &mut Section<'_>, out: &mut Diagnostics) {
    let help = "it belongs to the route that takes the message from its queue and calls a backend (`from: { amqp: … }`)";
    foreign(
        section,
        "circuit",
        "`circuit` on a route that calls no backend",
        help,
        out,
    );
}

/// On a route that takes from a queue.
pub(super) fn nothing_inbound(section: &mut Section<'_>, out: &mut Diagnostics) {
    let help = "its messages are safe in their queue; `spool` belongs to the route that takes HTTP in (`from: { http: … }`)";
    foreign(
        section,
        "spool",
        "`spool` on a route that takes from a queue",
        help,
        out,
    );
    let help = "every attempt carries the message's id as `Idempotency-Key` for the backend to know it by; `idempotency` belongs to the route that takes HTTP in (`from: { http: … }`)";
    foreign(
        section,
        "idempotency",
        "`idempotency` on a route that takes from a queue",
        help,
        out,
    );
}

fn foreign(
    section: &mut Section<'_>,
    key: &'static str,
    message: &str,
    help: &str,
    out: &mut Diagnostics,
) {
    if let Some(key) = section.key(key) {
        out.error(&key.place, message, help);
    }
    section.ask(key);
}
