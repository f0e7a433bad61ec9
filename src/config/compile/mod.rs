//! From the raw tree to values that cannot be wrong. Every mistake is found before any is reported.

mod amqp;
mod arguments;
mod facts;
mod redact;
mod routes;
mod section;
mod settings;
mod topology;
mod values;

use std::{collections::BTreeMap, time::Duration};

use self::{facts::Facts, routes::Common, section::Section, settings::MIB, topology::Declared};
use super::{
    Config,
    diagnostic::Diagnostics,
    model::{Admin, Http},
    raw::{Key, Node},
};

/// What a broker takes by default since RabbitMQ 3.12 (`max_message_size`).
const BROKER_LIMIT: u64 = 16 * MIB;

/// Compiles the tree; `None`, and at least one error, where it cannot be.
pub fn compile(root: &Node, out: &mut Diagnostics) -> Option<Config> {
    let config = tree(root, out);
    redact::redact(root, out);
    config
}

fn tree(root: &Node, out: &mut Diagnostics) -> Option<Config> {
    let mut section = Section::open(root, "", out)?;
    let [amqp, http, admin, store, log] =
        ["amqp", "http", "admin", "store", "log"].map(|key| section.get(key, out));
    let amqp = amqp::amqp(amqp, out);
    let http = settings::http(http, out);
    let admin = settings::admin(admin, out);
    let store = settings::store(store, out);
    let log = settings::log(log, out);
    let buffer_limit = section
        .get("buffer_limit", out)
        .and_then(|node| values::size(node, out));
    let buffer_limit = buffer_limit.unwrap_or(256 * MIB);
    let drain_timeout = section.get("drain_timeout", out);
    let drain_timeout = drain_timeout.and_then(|node| values::positive_duration(node, out));
    let drain_timeout = drain_timeout.unwrap_or(Duration::from_secs(30));
    let exchanges = topology::exchanges(section.get("exchanges", out), out);
    let mut queues = topology::queues(section.get("queues", out), amqp.queue_type, out);
    let mut facts = Facts::default();
    let routes = section.get("routes", out);
    let common = Common {
        body_limit: http.body_limit,
        queue_type: amqp.queue_type,
        spool: section.get("spool", out),
    };
    let compiled = routes::routes(routes, &common, &mut facts, out);
    if routes.is_none() || (compiled.is_empty() && !out.has_errors()) {
        let help = "add one: `routes: { place-order: { from: { http: \"POST /orders\" }, to: { amqp: orders } } }`";
        out.error(&root.place, "there are no routes", help);
    }
    facts.complete(&mut queues, out);
    facts.check(&queues, &exchanges, out);
    check_limits(&facts, buffer_limit, drain_timeout, out);
    check_listeners(&http, &admin, section.key("admin"), &root.place, out);
    section.finish(out);
    let config = Config {
        amqp,
        http,
        admin,
        store,
        log,
        buffer_limit,
        drain_timeout,
        exchanges: without_places(exchanges),
        queues: without_places(queues),
        routes: compiled,
    };
    (!out.has_errors()).then_some(config)
}

fn without_places<T>(declared: Declared<'_, T>) -> BTreeMap<String, T> {
    declared
        .into_iter()
        .map(|(name, (_, value))| (name, value))
        .collect()
}

fn check_limits(facts: &Facts<'_>, buffer_limit: u64, drain: Duration, out: &mut Diagnostics) {
    for (timeout, place) in &facts.reply_timeouts {
        if *timeout > drain {
            let message = format!("a reply may take {timeout:?}, a shutdown waits only {drain:?}");
            let help =
                "calls would be cut off at every restart; raise `drain_timeout`, or lower this";
            out.error(place, message, help);
        }
    }
    for (limit, place) in &facts.body_limits {
        if *limit > buffer_limit {
            let help =
                "no such body could ever be taken; raise `buffer_limit`, or lower `body_limit`";
            let message =
                format!("a body may have {limit} bytes here, and `buffer_limit` is {buffer_limit}");
            out.error(place, message, help);
        } else if *limit > BROKER_LIMIT {
            let help = "RabbitMQ takes 16 MiB by default (`max_message_size`); larger ones are answered 413";
            let message =
                format!("a body may have {limit} bytes here, more than brokers take by default");
            out.warning(place, message, help);
        }
    }
}

fn check_listeners(
    http: &Http,
    admin: &Admin,
    key: Option<&Key>,
    root: &super::raw::Place,
    out: &mut Diagnostics,
) {
    let (one, other) = (http.listen, admin.listen);
    // An unspecified address is every address; `[::]` is those of IPv4 as well.
    let every = one.ip().is_unspecified() || other.ip().is_unspecified();
    let meet = one.ip() == other.ip() || every;
    // Port 0 lets the system choose, and it never chooses one twice.
    if meet && one.port() == other.port() && one.port() != 0 {
        let message = if one == other {
            format!("`http.listen` and `admin.listen` are both {one}")
        } else {
            format!("`http.listen` and `admin.listen` meet on one port: {one} and {other}")
        };
        out.error(
            key.map_or(root, |key| &key.place),
            message,
            "give one of them another port",
        );
    }
}

#[cfg(test)]
mod tests;
