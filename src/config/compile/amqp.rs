//! `amqp:`: the broker.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};

use super::{section::Section, values};
use crate::config::{
    diagnostic::Diagnostics,
    model::{Amqp, BrokerUrl, QueueType, Secret, TopologyMode},
    raw::Node,
};

const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

pub(super) const QUEUE_TYPES: [(&str, QueueType); 2] = [
    ("quorum", QueueType::Quorum),
    ("classic", QueueType::Classic),
];
const TOPOLOGIES: [(&str, TopologyMode); 3] = [
    ("ensure", TopologyMode::Ensure),
    ("passive", TopologyMode::Passive),
    ("none", TopologyMode::None),
];

/// Everything by default.
pub(super) fn defaults() -> Amqp {
    Amqp {
        urls: DEFAULT_URL
            .parse()
            .map(|uri| BrokerUrl { uri })
            .into_iter()
            .collect(),
        ca_file: None,
        identity: None,
        topology: TopologyMode::Ensure,
        queue_type: QueueType::Quorum,
        lanes: 4,
        window: 64,
        in_flight: 8192,
        heartbeat: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        reconnect_max: Duration::from_secs(2),
        instance: format!("{:08x}", fastrand::u32(..)),
        reply_queue_expires: Duration::from_secs(600),
    }
}

pub(super) fn amqp(node: Option<&Node>, out: &mut Diagnostics) -> Amqp {
    let mut amqp = defaults();
    let Some(mut section) = node.and_then(|node| Section::open(node, "amqp", out)) else {
        return amqp;
    };
    if let Some(urls) = urls(&mut section, out) {
        amqp.urls = urls;
    }
    let ca_file = section
        .get("ca_file", out)
        .and_then(|node| values::text(node, out));
    amqp.ca_file = ca_file.map(PathBuf::from);
    amqp.identity = section
        .get("identity", out)
        .and_then(|node| identity(node, out));
    let mut set = |key, field: &mut Duration| {
        if let Some(duration) = section
            .get(key, out)
            .and_then(|node| values::positive_duration(node, out))
        {
            *field = duration;
        }
    };
    set("heartbeat", &mut amqp.heartbeat);
    set("connect_timeout", &mut amqp.connect_timeout);
    set("reconnect_max", &mut amqp.reconnect_max);
    let expires = section.get("reply_queue_expires", out);
    if let Some(expires) = expires.and_then(|node| values::broker_duration(node, out)) {
        amqp.reply_queue_expires = expires;
    }
    let mut set = |key, field: &mut usize, most| {
        if let Some(number) = section
            .get(key, out)
            .and_then(|node| values::integer(node, 1, most, out))
        {
            *field = number;
        }
    };
    set("lanes", &mut amqp.lanes, 64);
    set("window", &mut amqp.window, 1024);
    set("in_flight", &mut amqp.in_flight, 1_000_000);
    if let Some(mode) = section
        .get("topology", out)
        .and_then(|node| values::word(node, &TOPOLOGIES, out))
    {
        amqp.topology = mode;
    }
    if let Some(kind) = section
        .get("queue_type", out)
        .and_then(|node| values::word(node, &QUEUE_TYPES, out))
    {
        amqp.queue_type = kind;
    }
    if let Some(node) = section.get("instance", out)
        && let Some(instance) = instance(node, out)
    {
        amqp.instance = instance;
    }
    check_heartbeat(&section, &amqp, out);
    section.finish(out);
    amqp
}

fn check_heartbeat(section: &Section<'_>, amqp: &Amqp, out: &mut Diagnostics) {
    if let Some(key) = section.key("heartbeat")
        && !(1..=u64::from(u16::MAX)).contains(&amqp.heartbeat.as_secs())
    {
        out.error(
            &key.place,
            "a heartbeat is from 1s to 65535s (AMQP 0-9-1)",
            "write for example `10s`",
        );
    }
}

/// It becomes part of a queue's name and of correlation ids, which a dot ends.
fn instance(node: &Node, out: &mut Diagnostics) -> Option<String> {
    let instance = values::text(node, out)?;
    let valid = !instance.is_empty()
        && instance.len() <= 64
        && instance
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !valid {
        let help = "use 1 to 64 letters, digits, `-` and `_`, different in each running process";
        out.error(
            &node.place,
            format!("`{instance}` cannot name an instance"),
            help,
        );
    }
    valid.then_some(instance)
}

fn identity(node: &Node, out: &mut Diagnostics) -> Option<(PathBuf, Secret)> {
    let mut section = Section::open(node, "amqp.identity", out)?;
    let file = section
        .get("file", out)
        .and_then(|node| values::text(node, out));
    let password = section
        .get("password", out)
        .and_then(|node| values::text(node, out));
    if file.is_none() {
        out.error(
            section.place,
            "`identity` needs `file`",
            "name the PKCS#12 file: `file: /etc/hareway/client.p12`",
        );
    }
    section.finish(out);
    Some((file?.into(), Secret::new(password.unwrap_or_default())))
}

/// One of `url`, `urls` or `hosts`; `None` for none of them.
fn urls(section: &mut Section<'_>, out: &mut Diagnostics) -> Option<Vec<BrokerUrl>> {
    let given: Vec<_> = ["url", "urls", "hosts"]
        .into_iter()
        .filter_map(|key| section.key(key))
        .collect();
    if let [_, second, ..] = given.as_slice() {
        let message = format!("`{}` beside another way to name the broker", second.text);
        out.error(
            &second.place,
            message,
            "keep one of `url`, `urls` and `hosts`",
        );
    }
    let url = section.get("url", out);
    let urls = section.get("urls", out).or(url);
    let hosts = section.get("hosts", out);
    let account = account(section, hosts.is_some(), out);
    if let Some(node) = urls.or(hosts)
        && values::items(node).is_empty()
    {
        let help = "name at least one broker, or leave the key out for the default";
        out.error(&node.place, "an empty list of brokers", help);
    }
    if let Some(hosts) = hosts {
        let of_host = |host| of_host(host, &account, out);
        return Some(values::items(hosts).iter().filter_map(of_host).collect());
    }
    let urls = values::items(urls?);
    Some(urls.iter().filter_map(|node| url_of(node, out)).collect())
}

fn url_of(node: &Node, out: &mut Diagnostics) -> Option<BrokerUrl> {
    let text = values::text(node, out)?;
    match text.parse::<AMQPUri>() {
        Ok(mut uri) if !uri.authority.host.is_empty() => {
            // The parser takes names only, and localhost for every other host.
            if let Some(address) = bracketed(&text) {
                uri.authority.host = address.to_owned();
            }
            Some(BrokerUrl { uri })
        }
        Ok(_) | Err(_) => {
            // Neither the text nor the parser's words: there may be a password in them.
            let help = "write `amqp://HOST:PORT/VHOST`, or `amqps://…`, with user and password before the host; a virtual host `/` is `%2f`, and what is special in a URL is percent-encoded";
            out.error(&node.place, "this is not an AMQP URL", help);
            None
        }
    }
}

/// The IPv6 address in a URL's authority.
fn bracketed(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    host.strip_prefix('[')?
        .split_once(']')
        .map(|(address, _)| address)
}

/// What all of `hosts` have in common.
struct Account {
    user: String,
    password: String,
    vhost: String,
    tls: bool,
}

fn account(section: &mut Section<'_>, with_hosts: bool, out: &mut Diagnostics) -> Account {
    for key in ["user", "password", "vhost", "tls"]
        .into_iter()
        .filter_map(|key| section.key(key))
    {
        if !with_hosts {
            let message = format!("`{}` goes with `hosts`, which is not here", key.text);
            out.error(
                &key.place,
                message,
                "write it into the URL, or use `hosts: [\"HOST:PORT\"]`",
            );
        }
    }
    let mut text = |key, default: &str| {
        let given = section
            .get(key, out)
            .and_then(|node| values::text(node, out));
        given.unwrap_or_else(|| default.to_owned())
    };
    let (user, password, vhost) = (
        text("user", "guest"),
        text("password", "guest"),
        text("vhost", "/"),
    );
    let tls = section
        .get("tls", out)
        .and_then(|node| values::boolean(node, out))
        .unwrap_or(false);
    Account {
        user,
        password,
        vhost,
        tls,
    }
}

fn of_host(node: &Node, account: &Account, out: &mut Diagnostics) -> Option<BrokerUrl> {
    let text = values::text(node, out)?;
    let default = if account.tls { 5671 } else { 5672 };
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without a port.
        _ if text.parse::<IpAddr>().is_ok() || text.ends_with(']') => {
            (text.as_str(), Some(default))
        }
        Some((host, port)) if !host.is_empty() => (host, port.parse::<u16>().ok()),
        _ => (text.as_str(), Some(default)),
    };
    let Some(port) = port.filter(|_| !host.contains('/')) else {
        out.error(
            &node.place,
            format!("`{text}` is not a host and port"),
            "write for example `rabbit-1:5672`",
        );
        return None;
    };
    Some(BrokerUrl {
        uri: AMQPUri {
            scheme: if account.tls {
                AMQPScheme::AMQPS
            } else {
                AMQPScheme::AMQP
            },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: account.user.clone(),
                    password: account.password.clone(),
                },
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
            },
            vhost: account.vhost.clone(),
            query: Default::default(),
        },
    })
}
