//! The process's own settings: listeners, limits, logs, store.

use std::{path::PathBuf, time::Duration};

use super::{section::Section, values};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Admin, Http, Log, LogFormat, Store},
    raw::Node,
};

const LEVELS: [(&str, &str); 5] = [
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];
const FORMATS: [(&str, LogFormat); 3] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
];

pub(super) const MIB: u64 = 1 << 20;

pub(super) fn http(node: Option<&Node>, out: &mut Diagnostics) -> Http {
    let mut http = Http {
        listen: ([127, 0, 0, 1], 8080).into(),
        body_limit: MIB,
        connections: 10_000,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(30),
    };
    let Some(mut section) = node.and_then(|node| Section::open(node, "http", out)) else {
        return http;
    };
    if let Some(listen) = section
        .get("listen", out)
        .and_then(|node| values::address(node, out))
    {
        http.listen = listen;
    }
    if let Some(limit) = section
        .get("body_limit", out)
        .and_then(|node| values::size(node, out))
    {
        http.body_limit = limit;
    }
    let connections = section.get("connections", out);
    if let Some(most) = connections.and_then(|node| values::integer(node, 1, 1_000_000, out)) {
        http.connections = most;
    }
    let header = section.get("header_timeout", out);
    if let Some(timeout) = header.and_then(|node| values::positive_duration(node, out)) {
        http.header_timeout = timeout;
    }
    let body = section.get("body_timeout", out);
    if let Some(timeout) = body.and_then(|node| values::positive_duration(node, out)) {
        http.body_timeout = timeout;
    }
    section.finish(out);
    http
}

pub(super) fn admin(node: Option<&Node>, out: &mut Diagnostics) -> Admin {
    let mut admin = Admin {
        listen: ([127, 0, 0, 1], 9090).into(),
    };
    if let Some(mut section) = node.and_then(|node| Section::open(node, "admin", out)) {
        if let Some(listen) = section
            .get("listen", out)
            .and_then(|node| values::address(node, out))
        {
            admin.listen = listen;
        }
        section.finish(out);
    }
    admin
}

pub(super) fn store(node: Option<&Node>, out: &mut Diagnostics) -> Store {
    let mut store = Store {
        path: PathBuf::from("./data"),
    };
    if let Some(mut section) = node.and_then(|node| Section::open(node, "store", out)) {
        if let Some(path) = section
            .get("path", out)
            .and_then(|node| values::text(node, out))
        {
            store.path = path.into();
        }
        section.finish(out);
    }
    store
}

pub(super) fn log(node: Option<&Node>, out: &mut Diagnostics) -> Log {
    let mut log = Log {
        level: "info".to_owned(),
        format: LogFormat::Auto,
    };
    if let Some(mut section) = node.and_then(|node| Section::open(node, "log", out)) {
        if let Some(level) = section
            .get("level", out)
            .and_then(|node| values::word(node, &LEVELS, out))
        {
            log.level = level.to_owned();
        }
        if let Some(format) = section
            .get("format", out)
            .and_then(|node| values::word(node, &FORMATS, out))
        {
            log.format = format;
        }
        section.finish(out);
    }
    log
}
