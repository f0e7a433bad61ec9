use std::time::Duration;

use lapin::types::AMQPValue;

use super::*;
use crate::config::model::{Answer, Correlate, Park, QueueType, Unroutable, UrlTarget};

#[test]
fn accept_publishes_to_exchange_or_queue() {
    let config = good(
        r#"
exchanges: { orders: { type: topic } }
queues:
  in: { type: classic, bind: { orders: ["a.#", b] }, arguments: { x-max-length: 5, x-overflow: reject-publish, x-on: true, x-text: "7", x-list: [1, a] } }
routes:
  place:
    from: { http: { method: POST, path: "/orders/{region}", body_limit: 64KiB } }
    to:
      amqp: { exchange: orders, routing_key: "placed.{path.region}", type: "{header.kind:-x}", priority: 7, expiration: 10m, confirm_timeout: 2s, unroutable: discard, message_id: "{json:/id}" }
    headers: { pass: ["x-*", ETag], drop: x-not, set: { X-Region: "{path.region}" } }
    accepted: { status: 200, body: "ok", headers: { x-taken: "yes" } }
  short:
    from: { http: "* /in" }
    to: { amqp: in }
"#,
    );
    let queue = &config.queues["in"];
    assert_eq!(queue.kind, QueueType::Classic);
    assert_eq!(queue.bind.len(), 2);
    let argument = |name: &str| queue.arguments.inner().get(name).cloned().unwrap();
    assert_eq!(argument("x-max-length"), AMQPValue::LongLongInt(5));
    assert_eq!(argument("x-on"), AMQPValue::Boolean(true));
    assert_eq!(argument("x-text"), AMQPValue::LongString("7".into()));
    let [place, short] = config.routes.as_slice() else {
        panic!("{:?}", config.routes);
    };
    assert_eq!(
        (&*place.name, place.place.as_str()),
        ("place", "a.yaml:6:3")
    );
    let inbound = place.inbound().unwrap();
    assert_eq!(inbound.source.body_limit, 65_536);
    assert_eq!(inbound.target.exchange, "orders");
    assert_eq!(inbound.target.routing_key.as_literal(), None);
    assert_eq!(inbound.target.priority, Some(7));
    assert_eq!(inbound.target.expiration, Some(Duration::from_secs(600)));
    assert!(inbound.target.persistent && !inbound.target.carry_path);
    assert_eq!(inbound.target.unroutable, Unroutable::Discard);
    assert_eq!(inbound.headers.set[0].0, "x-region");
    assert!(inbound.headers.pass.as_ref().unwrap()[1].matches("etag"));
    let Answer::Accepted(accepted) = &inbound.answer else {
        panic!("{:?}", inbound.answer);
    };
    assert_eq!(
        (accepted.status.as_u16(), accepted.body.as_deref()),
        (200, Some(&b"ok"[..]))
    );
    let inbound = short.inbound().unwrap();
    assert_eq!(inbound.source.method, None);
    assert_eq!(inbound.target.exchange, "");
    assert_eq!(inbound.target.routing_key.as_literal(), Some("in"));
}

#[test]
fn deliver_declares_its_queue_and_has_retries_and_parking() {
    let config = good(
        r#"
exchanges: { orders: {} }
routes:
  plain:
    from: { amqp: work }
    to: { http: "http://127.0.0.1:9000" }
  full:
    from: { amqp: { queue: more, bind: { orders: "" }, concurrency: 3, prefetch: 5 } }
    to: { http: { url: "http://a/{header.x}", method: PUT, timeout: 5s, success: [2xx, 404], response_limit: 1KiB } }
    retry: { delays: [1s, 5s], for: 1h, on: 5xx }
    park: more.failed
    reply: { headers: { drop: [x-a] } }
"#,
    );
    assert!(config.queues.contains_key("work"));
    assert_eq!(config.queues["more"].bind.len(), 1);
    let plain = config.routes[0].deliver().unwrap();
    assert_eq!((plain.source.concurrency, plain.source.prefetch), (16, 32));
    let park = Park::Queue {
        name: "hareway.parked.plain".to_owned(),
    };
    assert_eq!(plain.failure.park, park);
    let delays = plain.failure.retry.as_ref().unwrap().schedule.delays();
    assert_eq!(delays, [1, 10, 60, 600].map(Duration::from_secs));
    assert!(matches!(plain.target.url, UrlTarget::Exact(_)));
    let full = config.routes[1].deliver().unwrap();
    assert_eq!((full.source.concurrency, full.source.prefetch), (3, 5));
    assert_eq!(full.target.success.to_string(), "2xx 404");
    let retry = full.failure.retry.as_ref().unwrap();
    assert_eq!(retry.schedule.lasts(), Some(Duration::from_secs(3600)));
    assert_eq!(retry.on.to_string(), "5xx");
    assert_eq!(full.reply_headers.drop.len(), 1);
}

#[test]
fn reply_holds_the_call() {
    let config = good(
        r#"
queues: { ask: {} }
routes:
  quote:
    from: { http: "POST /quotes" }
    to: { amqp: { exchange: "", routing_key: ask } }
    reply: { timeout: 5s, queue: answers, correlate: message_id, status: "{header.code:-200}", waiting: 7, headers: { set: { x-by: "{property.app_id:-x}" } } }
"#,
    );
    let reply = config.routes[0].inbound().unwrap().reply().unwrap();
    assert_eq!(reply.timeout, Duration::from_secs(5));
    assert_eq!(reply.queue.as_deref(), Some("answers"));
    assert_eq!(reply.correlate, Correlate::MessageId);
    assert_eq!(reply.waiting, 7);
    assert!(reply.status.is_some());
}

#[test]
fn via_is_two_routes() {
    let config = good(
        r#"
routes:
  invoices:
    from: { http: "* /invoices/{*rest}" }
    via: invoices
    to: { http: "http://127.0.0.1:9001" }
    reply: { timeout: 10s }
  store:
    from: { http: "POST /store/{id}" }
    via: store
    to: { http: "http://127.0.0.1:9001/x/{path.id}" }
    retry: [1s]
"#,
    );
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(
        names,
        ["invoices", "invoices.deliver", "store", "store.deliver"]
    );
    let inbound = config.routes[0].inbound().unwrap();
    assert!(inbound.target.carry_path && inbound.reply().is_some());
    assert_eq!(inbound.target.routing_key.as_literal(), Some("invoices"));
    let deliver = config.routes[1].deliver().unwrap();
    assert!(
        matches!(&deliver.target.url, UrlTarget::Base(uri) if uri.authority().unwrap() == "127.0.0.1:9001")
    );
    assert!(deliver.failure.retry.is_none());
    let deliver = config.routes[3].deliver().unwrap();
    assert!(matches!(deliver.target.url, UrlTarget::Exact(_)));
    assert!(deliver.failure.retry.is_some());
    assert!(config.queues.contains_key("invoices") && config.queues.contains_key("store"));
}
