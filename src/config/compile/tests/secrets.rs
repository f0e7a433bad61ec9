use super::*;
use crate::config::{
    keys,
    model::Secret,
    raw::{Node, ScalarPart, Value},
};

/// What must not be seen, in none of its forms.
const SECRETS: [&str; 5] = [
    "hush{Hush",
    "Hush hush",
    "/hush/../{hush",
    "hush-*",
    "https://hush:hush@h#",
];

/// Makes every scalar but the ends' kinds a secret.
fn hide(node: &mut Node, secret: &str) {
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => items.iter_mut().for_each(|item| hide(item, secret)),
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|entry| hide(&mut entry.value, secret)),
        Value::Scalar(scalar) => scalar.parts = vec![ScalarPart::Secret(Secret::new(secret))],
    }
}

/// One text with every key, its value from the table of keys.
fn everything() -> Vec<String> {
    let route = |inner: &str| format!("routes: {{ r: {{ {inner} }} }}");
    let mut texts: Vec<String> = keys::all()
        .filter(|key| !key.path.contains('*') && key.parent().contains(|c: char| c != '*'))
        .filter_map(|key| {
            let (section, name) = key.path.split_once('.')?;
            (!name.contains('.')).then(|| format!("{section}: {{ {name}: {} }}", key.example))
        })
        .collect();
    texts.extend([
        "exchanges: { e: { type: x, durable: x, arguments: { a: x }, bind: { f: x } } }".to_owned(),
        "queues: { q: { type: x, external: x, bind: { f: [x, { routing_key: x }] } } }".to_owned(),
        route("from: { http: x }, to: { amqp: x }, reply: { timeout: x, queue: x, correlate: x, status: x, waiting: x, headers: { pass: [x], set: { a: x } } }"),
        route("from: { http: { method: x, path: x, body_limit: x } }, to: { amqp: { exchange: x, routing_key: x, message_id: x, type: x, priority: x, expiration: x, persistent: x, confirm_timeout: x, unroutable: x } }, accepted: { status: x, body: x, headers: { a: x } }"),
        route("from: { amqp: { queue: x, bind: { e: x }, concurrency: x, prefetch: x, shared: x } }, to: { http: { url: x, method: x, timeout: x, success: [x], response_limit: x } }, retry: { delays: [x], for: x, on: x }, park: x"),
        route("from: { http: 'POST /' }, via: x, to: { http: x }, retry: x"),
    ]);
    texts
}

/// No message and no help repeats a secret, whichever field it was given to.
#[test]
fn no_secret_is_repeated() {
    let mut seen = 0;
    for secret in SECRETS {
        for text in everything() {
            let mut diagnostics = Diagnostics::default();
            let source = Arc::new(Source {
                name: "a.yaml".to_owned(),
                text: text.clone(),
            });
            let mut root = raw::parse(source, &mut diagnostics).expect(&text);
            hide(&mut root, secret);
            super::super::compile(&root, &mut diagnostics);
            for one in diagnostics.iter() {
                let said = format!("{} {}", one.message, one.help.as_deref().unwrap_or(""));
                assert!(!said.to_lowercase().contains("hush"), "{said}\nof {text}");
                seen += 1;
            }
        }
    }
    assert!(seen > 200, "only {seen} diagnostics");
}

/// What a valid configuration says of itself has no secret in it either: neither the line that
/// describes a route nor the value as the log would print it.
#[test]
fn no_secret_is_described() {
    let yaml = "routes: { r: { from: { amqp: q }, to: { http: x }, headers: { set: { a: y } } } }";
    let source = Arc::new(Source {
        name: "a.yaml".to_owned(),
        text: yaml.to_owned(),
    });
    let mut diagnostics = Diagnostics::default();
    let mut root = raw::parse(source, &mut diagnostics).expect(yaml);
    replace(&mut root, "x", "http://host/hush");
    replace(&mut root, "y", "Bearer hush");
    let config = super::super::compile(&root, &mut diagnostics).expect("a valid configuration");
    for route in &config.routes {
        let said = crate::config::Described::new(route).to_string();
        assert!(said.contains("***") && !said.contains("hush"), "{said}");
    }
    let said = format!("{config:?}");
    assert!(!said.contains("hush"), "{said}");
}

fn replace(node: &mut Node, text: &str, secret: &str) {
    match &mut node.value {
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|entry| replace(&mut entry.value, text, secret)),
        Value::Scalar(scalar) if scalar.text() == text => {
            scalar.parts = vec![ScalarPart::Secret(Secret::new(secret))];
        }
        Value::Null | Value::List(_) | Value::Scalar(_) => {}
    }
}
