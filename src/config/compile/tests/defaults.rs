use std::{path::Path, time::Duration};

use super::*;
use crate::config::model::{LogFormat, QueueType, TopologyMode};

const ROUTE: &str = "routes: { r: { from: { amqp: q }, to: { http: 'http://a' } } }\n";

#[test]
fn everything_has_its_default() {
    let config = good(ROUTE);
    let amqp = &config.amqp;
    assert_eq!(amqp.urls[0].to_string(), "amqp://guest@127.0.0.1:5672/%2F");
    assert_eq!((amqp.lanes, amqp.window, amqp.in_flight), (4, 64, 8192));
    assert_eq!(
        (amqp.topology, amqp.queue_type),
        (TopologyMode::Ensure, QueueType::Quorum)
    );
    assert_eq!(amqp.instance.len(), 8);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.http.body_limit, 1 << 20);
    assert_eq!(config.store.path, Path::new("./data"));
    assert_eq!(
        (config.log.level.as_str(), config.log.format),
        ("info", LogFormat::Auto)
    );
    assert_eq!(config.buffer_limit, 256 << 20);
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
}

#[test]
fn the_broker_is_a_url_or_several_or_hosts() {
    let urls = |amqp: &str| -> Vec<String> {
        let config = good(&format!("amqp: {amqp}\n{ROUTE}"));
        config.amqp.urls.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        urls("{ url: 'amqp://u:p@h:5673/v' }"),
        ["amqp://u@h:5673/v"]
    );
    assert_eq!(
        urls("{ url: 'amqp://u:p@[::1]:5673/v' }"),
        ["amqp://u@::1:5673/v"]
    );
    assert_eq!(
        urls("{ urls: ['amqp://a', 'amqps://b'] }"),
        ["amqp://guest@a:5672/%2F", "amqps://guest@b:5671/%2F"]
    );
    assert_eq!(
        urls("{ hosts: [a, 'b:1', '[::1]:2'], user: u, password: 'p@/', vhost: v/w, tls: true }"),
        [
            "amqps://u@a:5671/v%2Fw",
            "amqps://u@b:1/v%2Fw",
            "amqps://u@::1:2/v%2Fw"
        ]
    );
}
