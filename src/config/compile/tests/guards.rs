use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::{
    config::{
        Described,
        model::{Circuit, Deliver, Idempotency, Inbound, Limits, Spool},
    },
    template::{Part, Source},
};

const GIB: u64 = 1 << 30;

/// The HTTP half of a route with more keys, beside more at the top.
#[track_caller]
fn accept(top: &str, more: &str) -> Inbound {
    let config = good(&format!(
        "{top}\nqueues: {{ q: {{}} }}\nroutes: {{ r: {{ from: {{ http: 'POST /{{x}}' }}, to: {{ amqp: q }}{more} }} }}"
    ));
    config.routes[0].inbound().unwrap().clone()
}

#[track_caller]
fn spool(top: &str, more: &str) -> Option<Spool> {
    accept(top, more).spool
}

#[track_caller]
fn idempotency(more: &str) -> Option<Idempotency> {
    accept("", more).idempotency
}

/// A deliver route; `queue` goes beside its queue.
#[track_caller]
fn deliver(queue: &str, more: &str) -> Deliver {
    let config = good(&format!(
        "routes: {{ r: {{ from: {{ amqp: {{ queue: q{queue} }} }}, to: {{ http: 'http://a/' }}{more} }} }}"
    ));
    config.routes[0].deliver().unwrap().clone()
}

/// Concurrency and prefetch.
#[track_caller]
fn ahead(queue: &str, limits: &str) -> (usize, u16) {
    let source = deliver(queue, &format!(", limits: {{ {limits} }}")).source;
    (source.concurrency, source.prefetch)
}

#[track_caller]
fn circuit(circuit: &str) -> Option<Circuit> {
    deliver("", &format!(", circuit: {circuit}")).circuit
}

#[test]
fn a_route_without_a_word_has_a_circuit_and_nothing_else() {
    let inbound = accept("", "");
    assert_eq!(inbound.spool, None);
    assert!(inbound.idempotency.is_none());
    assert_eq!(inbound.limits, Limits::default());
    let deliver = deliver("", "");
    assert_eq!(deliver.limits, Limits::default());
    let circuit = deliver.circuit.unwrap();
    assert_eq!(circuit.failures, 10);
    assert!(circuit.on.connect && circuit.on.timeout);
    assert_eq!(circuit.on.statuses.to_string(), "502-504");
    let seconds = (circuit.pause.as_secs(), circuit.pause_max.as_secs());
    assert_eq!(seconds, (1, 30));
}

#[test]
fn the_spool_at_the_top_is_that_of_every_route_that_accepts() {
    let spool_of = |max_bytes, hours: Option<u64>| {
        let max_age = hours.map(|hours| Duration::from_secs(hours * 3600));
        Some(Spool { max_bytes, max_age })
    };
    assert_eq!(spool("", ", spool: true"), spool_of(GIB, None));
    assert_eq!(spool("", ", spool: false"), None);
    assert_eq!(spool("spool: true", ""), spool_of(GIB, None));
    assert_eq!(spool("spool: true", ", spool: false"), None);
    assert_eq!(spool("spool: false", ", spool: true"), spool_of(GIB, None));
    let top = "spool: { max_bytes: 5GiB, max_age: 2h }";
    assert_eq!(spool(top, ""), spool_of(5 * GIB, Some(2)));
    assert_eq!(spool(top, ", spool: true"), spool_of(5 * GIB, Some(2)));
    let own = ", spool: { max_age: 1h }";
    assert_eq!(spool(top, own), spool_of(5 * GIB, Some(1)));
    assert_eq!(spool("", own), spool_of(GIB, Some(1)));
}

#[test]
fn the_spool_at_the_top_does_not_touch_calls_that_are_held() {
    assert_eq!(spool("spool: true", ", reply: {}"), None);
    let via = "routes: { a: { from: { http: 'POST /a' }, via: a, to: { http: 'http://a' } }, b: { from: { http: 'POST /b' }, via: b, to: { http: 'http://a' }, reply: {} } }";
    let config = good(&format!("spool: true\n{via}"));
    let spooled: Vec<_> = config
        .routes
        .iter()
        .filter_map(|route| Some((&*route.name, route.inbound()?.spool.is_some())))
        .collect();
    assert_eq!(spooled, [("a", true), ("b", false)]);
}

#[test]
fn idempotency_has_a_key_and_a_time() {
    assert!(idempotency(", idempotency: false").is_none());
    for all_by_default in [", idempotency: true", ", idempotency: {}"] {
        let idempotency = idempotency(all_by_default).unwrap();
        let header = Part::Value {
            source: Source::Header("idempotency-key".into()),
            verbatim: false,
            fallback: None,
        };
        assert_eq!(idempotency.key.parts(), [header]);
        assert!(idempotency.scope.is_none() && !idempotency.required);
        assert_eq!(idempotency.ttl, Duration::from_secs(86_400));
        assert_eq!(idempotency.max_bytes, 256 << 20);
    }
    let own = "{ key: '{json:/id}{path.x:-}', scope: '{header.x-tenant}', required: true, ttl: 1h, max_bytes: 1MiB }";
    let own = idempotency(&format!(", reply: {{}}, idempotency: {own}")).unwrap();
    assert_eq!(own.key.parts().len(), 2);
    assert!(own.scope.is_some() && own.required);
    assert_eq!((own.ttl.as_secs(), own.max_bytes), (3600, 1 << 20));
}

#[test]
fn a_rate_is_calls_in_a_time() {
    for (written, interval_us, burst) in [
        ("100/s", 10_000, 100),
        ("30/m", 2_000_000, 1),
        ("90/m", 666_666, 1),
        ("5000/h", 720_000, 1),
        ("100/10s", 100_000, 10),
        ("3 / 2s", 666_666, 1),
        ("7/s", 142_857, 7),
        ("1/d", 86_400_000_000, 1),
        ("5/10ms", 2_000, 500),
        ("1000000/s", 1, 1_000_000),
    ] {
        let limits = accept("", &format!(", limits: {{ rate: {written} }}")).limits;
        let rate = limits.rate.unwrap();
        assert_eq!(rate.interval.as_micros(), interval_us, "{written}");
        assert_eq!(rate.burst, burst, "{written}");
    }
    let limits = accept("", ", limits: { rate: 1/s, burst: 20, concurrency: 50000 }").limits;
    assert_eq!(limits.rate.unwrap().burst, 20);
    assert_eq!(limits.concurrency, Some(50_000));
    // Towards a backend the pace is even.
    let limits = deliver("", ", limits: { rate: 100/s }").limits;
    assert_eq!(limits.rate.unwrap().burst, 1);
    let limits = deliver("", ", limits: { rate: 100/s, burst: 9 }").limits;
    assert_eq!(limits.rate.unwrap().burst, 9);
}

#[test]
fn no_message_is_taken_so_early_that_the_broker_would_take_it_back() {
    assert_eq!(ahead("", "concurrency: 4"), (4, 8));
    assert_eq!(ahead(", concurrency: 4", "rate: 10/s"), (4, 8));
    assert_eq!(ahead("", "rate: 10/s"), (16, 32));
    // 20 messages, a call every 30 seconds: 10 minutes.
    assert_eq!(ahead("", "rate: 2/m"), (16, 20));
    assert_eq!(ahead("", "rate: 1/m"), (10, 10));
    assert_eq!(ahead("", "rate: 1/9m"), (1, 1));
    assert_eq!(ahead(", concurrency: 30", "rate: 1/m"), (10, 10));
    assert_eq!(ahead(", prefetch: 10", "rate: 1/m"), (10, 10));
    assert_eq!(ahead(", prefetch: 60000", "rate: 100/s"), (16, 60_000));
}

#[test]
fn the_limits_of_a_via_route_are_those_of_its_calls() {
    let config = good(
        "routes: { r: { from: { http: 'POST /' }, via: v, to: { http: 'http://a' }, spool: true, idempotency: true, limits: { rate: 1/h, concurrency: 3 }, circuit: { failures: 2 } } }",
    );
    let inbound = config.routes[0].inbound().unwrap();
    assert!(inbound.spool.is_some() && inbound.idempotency.is_some());
    assert_eq!(inbound.limits.concurrency, Some(3));
    let deliver = config.routes[1].deliver().unwrap();
    assert_eq!(deliver.limits, Limits::default());
    assert_eq!(
        (deliver.source.concurrency, deliver.source.prefetch),
        (16, 32)
    );
    assert_eq!(deliver.circuit.as_ref().unwrap().failures, 2);
}

#[test]
fn a_circuit_opens_on_what_is_written() {
    assert_eq!(circuit("none"), None);
    let own = circuit("{ failures: 3, on: [timeout, 500, 502-503], pause: 2s, pause_max: 4s }");
    let own = own.unwrap();
    assert_eq!(own.failures, 3);
    assert!(own.on.timeout && !own.on.connect);
    let has = |code| {
        own.on
            .statuses
            .contains(StatusCode::from_u16(code).unwrap())
    };
    assert!(has(500) && has(503) && !has(504) && !has(501));
    assert_eq!((own.pause.as_secs(), own.pause_max.as_secs()), (2, 4));
    let one = circuit("{ on: connect }").unwrap().on;
    assert!(one.connect && !one.timeout);
    assert_eq!(one.statuses.to_string(), "");
    // A first pause beyond the usual longest one is the longest.
    let slow = circuit("{ pause: 1m }").unwrap();
    assert_eq!(slow.pause_max, Duration::from_secs(60));
}

#[test]
fn what_stands_around_a_route_is_in_what_it_guarantees() {
    let config = good(
        "routes: { r: { from: { http: 'POST /' }, via: v, to: { http: 'http://a' }, retry: [1s], spool: true, idempotency: { ttl: 2h }, limits: { rate: 90/m, concurrency: 3 } }, s: { from: { amqp: s }, to: { http: 'http://a' }, retry: [1s], circuit: none, limits: { rate: 1/10m } } }",
    );
    let guarantees: Vec<String> = config
        .routes
        .iter()
        .map(|route| Described::new(route).guarantee)
        .collect();
    assert_eq!(
        guarantees,
        [
            "202 only after the broker has confirmed the message and put it into a queue, or it is spooled on disk while the broker is away; repeated calls are answered once, within 2h; at most 3 calls at once and 90 calls per minute, 429 beyond",
            "at least once; tried again after 1s, then parked in `hareway.parked.r`; paused while the backend is down",
            "at least once; tried again after 1s, then parked in `hareway.parked.s`; 6 calls per hour",
        ]
    );
}

/// Every message about a text, errors and doubts alike.
fn said(text: &str) -> Vec<String> {
    let (_, diagnostics) = compile(text);
    diagnostics.iter().map(|one| one.message.clone()).collect()
}

#[test]
fn what_is_no_rate() {
    for rate in [
        "0/s",
        "100",
        "/s",
        "1.5/s",
        "-1/s",
        "1/0s",
        "1/5",
        "1/s/s",
        "2000000/s",
        "1/500d",
        "99999999999/s",
    ] {
        let text = format!(
            "routes: {{ r: {{ from: {{ amqp: q }}, to: {{ http: 'http://a' }}, limits: {{ rate: {rate} }} }} }}"
        );
        assert_eq!(said(&text), [format!("`{rate}` is not a rate")]);
    }
}

#[test]
fn a_concurrency_has_the_bounds_of_its_side() {
    let with = |from: &str, to: &str, most: u32| {
        format!(
            "queues: {{ q: {{}} }}\nroutes: {{ r: {{ from: {{ {from} }}, to: {{ {to} }}, limits: {{ concurrency: {most} }} }} }}"
        )
    };
    let (queue, call) = ("amqp: q", "http: 'POST /'");
    let backend = "http: 'http://a'";
    assert_eq!(said(&with(queue, backend, 10_000)), [""; 0]);
    assert_eq!(said(&with(call, queue, 1_000_000)), [""; 0]);
    let wrong = "`10001` is not a whole number from 1 to 10000";
    assert_eq!(said(&with(queue, backend, 10_001)), [wrong]);
    let wrong = "`0` is not a whole number from 1 to 1000000";
    assert_eq!(said(&with(call, queue, 0)), [wrong]);
}

#[test]
fn a_prefetch_fits_both_the_concurrency_and_the_rate() {
    let with = |queue: &str, timeout: &str| {
        let (_, diagnostics) = compile(&format!(
            "routes: {{ r: {{ from: {{ amqp: {{ queue: q, {queue} }} }}, to: {{ http: {{ url: 'http://a', timeout: {timeout} }} }}, limits: {{ rate: 1/m }} }} }}"
        ));
        let helps = diagnostics.iter().filter_map(|one| one.help.clone());
        let helps = helps.map(|help| help.split([';', ':']).next().unwrap_or_default().to_owned());
        helps.collect::<Vec<_>>()
    };
    assert_eq!(with("prefetch: 11", "30s"), ["write `prefetch"]);
    assert_eq!(with("prefetch: 10", "30s"), [""; 0]);
    assert_eq!(with("concurrency: 20, prefetch: 20", "30s").len(), 1);
    assert_eq!(with("concurrency: 20, prefetch: 15", "30s").len(), 2);
    // A long call leaves less time for the turns before it.
    assert_eq!(with("concurrency: 5, prefetch: 6", "20m").len(), 1);
    assert_eq!(with("concurrency: 5, prefetch: 5", "20m"), [""; 0]);
}

#[test]
fn a_circle_of_parked_messages_is_said_once() {
    let circle = "these routes park into each other's queues: a message that fails in all of them goes round for ever";
    let route = |name: &str, queue: &str, park: &str| {
        format!(
            "  {name}: {{ from: {{ amqp: {{ queue: {queue}, shared: true }} }}, to: {{ http: 'http://a' }}, park: {park} }}\n"
        )
    };
    let all = |routes: &[String]| said(&format!("routes:\n{}", routes.concat()));
    let (a, b) = (route("a", "qa", "qb"), route("b", "qb", "qc"));
    assert_eq!(all(&[a.clone(), b.clone()]), [""; 0]);
    let back = route("c", "qc", "qa");
    assert_eq!(all(&[a.clone(), b.clone(), back]), [circle]);
    // By the second reader of a queue, which has a way on where the first has none.
    let end = route("end", "qc", "qd");
    let other = route("other", "qc", "qa");
    assert_eq!(all(&[a, b, end, other]), [circle]);
}

#[test]
fn a_spool_beside_messages_that_the_broker_forgets_is_doubted_wherever_it_stands() {
    let route = "queues: { q: {} }\nroutes: { r: { from: { http: 'POST /' }, to: { amqp: { queue: q, persistent: false } } } }";
    let doubt = "what is spooled survives a restart here, but not one of the broker";
    assert_eq!(said(route).len(), 1);
    let everywhere = said(&format!("spool: true\n{route}"));
    assert_eq!(everywhere.iter().filter(|said| *said == doubt).count(), 1);
}
