use super::*;
use crate::config::diagnostic::Severity;

const DELIVER: &str = "routes: { r: { from: { amqp: q }, to: { http: 'http://a/' } } }";
const ACCEPT: &str =
    "queues: { q: {} }\nroutes: { r: { from: { http: 'POST /{x}' }, to: { amqp: q } } }";

/// Each text has exactly one mistake, reported at the marked words.
#[track_caller]
fn check(cases: &[(&str, &str, &str)]) {
    for (text, marked, message) in cases {
        let (config, diagnostics) = compile(text);
        let errors: Vec<_> = diagnostics
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .collect();
        let [one] = errors.as_slice() else {
            panic!("{} errors:\n{diagnostics}\nin {text}", errors.len());
        };
        assert!(config.is_none());
        let place = one.place.as_ref().unwrap();
        let line = text.lines().nth(place.line - 1).unwrap();
        let at: String = line
            .chars()
            .skip(place.column - 1)
            .take(place.length)
            .collect();
        assert_eq!(
            (at.as_str(), one.message.as_str()),
            (*marked, *message),
            "{text}"
        );
        assert!(one.help.is_some(), "{text}");
    }
}

#[test]
fn brokers() {
    let with = |amqp: &str| format!("amqp: {amqp}\n{DELIVER}");
    check(&[
        (&with("{ urls: [] }"), "[]", "an empty list of brokers"),
        (&with("{ hosts: [] }"), "[]", "an empty list of brokers"),
        (
            &with("{ heartbeat: 500ms }"),
            "heartbeat",
            "a heartbeat is from 1s to 65535s (AMQP 0-9-1)",
        ),
        (
            &with("{ reply_queue_expires: 60d }"),
            "60d",
            "longer than RabbitMQ keeps a message",
        ),
        (
            &with("{ identity: { password: x } }"),
            "{ password: x }",
            "`identity` needs `file`",
        ),
    ]);
}

#[test]
fn times_to_live_are_what_the_broker_can_keep() {
    check(&[
        (
            &DELIVER.replace(" } }", " }, retry: [1s, 60d] }"),
            "60d",
            "longer than RabbitMQ keeps a message",
        ),
        (
            &ACCEPT.replace("amqp: q", "amqp: { queue: q, expiration: 60d }"),
            "60d",
            "longer than RabbitMQ keeps a message",
        ),
    ]);
}

#[test]
fn names_that_are_the_brokers_own() {
    check(&[
        (
            &format!("exchanges: {{ amq.topic: {{}} }}\n{DELIVER}"),
            "amq.topic",
            "the exchange `amq.topic` would be the broker's own",
        ),
        (
            &format!("queues: {{ amq.x: {{}} }}\n{DELIVER}"),
            "amq.x",
            "the queue `amq.x` would be the broker's own",
        ),
        (
            &format!("queues: {{ x: {{ bind: {{ '': k }} }} }}\n{DELIVER}"),
            "''",
            "nothing can be bound to the default exchange",
        ),
    ]);
}

#[test]
fn the_type_of_a_queue_is_known_however_it_is_said() {
    check(&[
        (
            &format!(
                "queues: {{ q: {{ type: classic, arguments: {{ x-queue-type: quorum }} }} }}\n{DELIVER}"
            ),
            "type",
            "`type` and the argument `x-queue-type: quorum` differ",
        ),
        (
            &format!("queues: {{ q: {{ arguments: {{ x-queue-type: stream }} }} }}\n{DELIVER}"),
            "q",
            "`q` is a stream",
        ),
    ]);
}

#[test]
fn targets_that_cannot_take_a_message() {
    let to = |to: &str| {
        format!(
            "exchanges: {{ e: {{ internal: true }} }}\nqueues: {{ q: {{ bind: {{ e: k }} }} }}\nroutes: {{ r: {{ from: {{ http: 'POST /{{x}}' }}, to: {to} }} }}"
        )
    };
    check(&[
        (
            &to("{ amqp: 'q.{path.x}' }"),
            "'q.{path.x}'",
            "`q.{path.x}` is taken for a queue's name, braces included",
        ),
        (
            &to("{ amqp: { exchange: e, routing_key: k } }"),
            "e",
            "nobody can publish to `e`, it is internal",
        ),
    ]);
}

#[test]
fn urls_that_are_not_called_as_they_are_written() {
    let to = |url: &str| DELIVER.replace("http://a/", url);
    check(&[
        (
            &to("http://u:p@a/"),
            "'http://u:p@a/'",
            "user and password in a URL are not sent",
        ),
        (
            &to("http://a/#x"),
            "'http://a/#x'",
            "a fragment of a URL is not sent",
        ),
    ]);
}

#[test]
fn templates_name_what_is_at_hand() {
    let with = |more: &str| ACCEPT.replace("amqp: q } }", &format!("amqp: q }}, {more} }}"));
    check(&[
        (
            &with("reply: { status: '{path.x}' }"),
            "x",
            "`path.x` where only the reply is at hand",
        ),
        (
            &with("reply: { status: '99' }"),
            "'99'",
            "this is not the status of a response",
        ),
        (
            &with("headers: { set: { y: '{property.type}' } }"),
            "type",
            "`property.type` on a route that takes HTTP in",
        ),
        (
            &with("headers: { set: { host: y } }"),
            "host",
            "`host` cannot be set",
        ),
        (
            "routes: { r: { from: { http: 'POST /{x}' }, via: v, to: { http: 'http://a' }, headers: { set: { y: '{path.z}' } } } }",
            "z",
            "the route's path has no parameter `z`",
        ),
    ]);
    good(&DELIVER.replace(" } }", " }, headers: { set: { host: y } } }"));
}

#[test]
fn queues_and_names_of_two_routes() {
    check(&[
        (
            "routes: { r: { from: { http: 'POST /' }, via: v, to: { http: 'http://a' }, reply: { queue: v } } }",
            "v",
            "a route takes messages from the reply queue `v`",
        ),
        (
            "routes: { r: { from: { http: 'POST /' }, via: v, to: { http: 'http://a' } }, r.deliver: { from: { amqp: w }, to: { http: 'http://a' } } }",
            "r.deliver",
            "a second route of the name `r.deliver`",
        ),
        (
            &ACCEPT.replace("POST", "CONNECT"),
            "'CONNECT /{x}'",
            "`CONNECT` is not a method",
        ),
    ]);
}

#[test]
fn what_two_sections_or_keys_say_of_one_thing() {
    check(&[
        (
            &format!(
                "http: {{ listen: '0.0.0.0:90' }}\nadmin: {{ listen: '127.0.0.1:90' }}\n{DELIVER}"
            ),
            "admin",
            "`http.listen` and `admin.listen` meet on one port: 0.0.0.0:90 and 127.0.0.1:90",
        ),
        (
            &DELIVER.replace(" } }", " }, headers: { set: { X-A: a, x-a: b } } }"),
            "x-a",
            "`x-a` is set twice",
        ),
        (
            "routes: { r: { from: { http: 'POST /' }, via: v, to: { http: 'http://a' }, park: v } }",
            "v",
            "a route cannot park into the queue it takes from",
        ),
        (
            &format!(
                "exchanges: {{ e: {{ type: topc }} }}\nqueues: {{ q: {{ bind: {{ e: k }} }} }}\n{DELIVER}"
            ),
            "topc",
            "there is no exchange type `topc`",
        ),
    ]);
}
