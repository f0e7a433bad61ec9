//! The keys of what stands around a route: spool, idempotency, limits, circuit.

use super::{Key, Kind, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "routes.*.spool",
        Kind::Either(&[Kind::Boolean, Kind::Map]),
        "the `spool` at the top",
        "{ max_bytes: 10GiB, max_age: 1d }",
        "While the broker is away, blocked or refusing, messages of an accept route are kept on disk, in order, and the caller gets 202 with `\"status\":\"spooled\"`. What a map leaves out is as at the top; `false` is no spool. Not beside `reply`: a call that is held cannot wait for a broker that is away.",
    ),
    key(
        "routes.*.idempotency",
        Kind::Either(&[Kind::Boolean, Kind::Map]),
        "false",
        "{ key: \"{json:/event/id}\", ttl: 3d }",
        "A repeated call is answered with the first answer, and publishes nothing. `true` is everything by default. For routes that take HTTP in, with `reply` or without.",
    ),
    key(
        "routes.*.limits",
        Kind::Map,
        "",
        "{ rate: 100/s }",
        "How many calls a route takes, or makes: a route that takes HTTP in answers what is beyond it with 429, a route that takes from a queue paces its calls of the backend. With `via` they limit the calls that are taken.",
    ),
    key(
        "routes.*.circuit",
        Kind::Either(&[Kind::Words(&["none"]), Kind::Map]),
        "{}",
        "{ failures: 5, pause_max: 1m }",
        "A backend that is down is left alone: after some failures in a row the route takes no more messages, tries again from time to time, and spends no attempt of theirs meanwhile. `none` calls it all the same. For routes that take from a queue, and with `via`.",
    ),
    // --- spool ---
    key(
        "routes.*.spool.max_bytes",
        Kind::Size,
        "spool.max_bytes",
        "10GiB",
        "The most that the messages of this route may take on disk. Beyond it, requests are answered with 503.",
    ),
    key(
        "routes.*.spool.max_age",
        Kind::Duration,
        "spool.max_age",
        "1d",
        "A message that has waited longer is not sent any more but set apart, for a person to look at. Without it, messages wait as long as it takes.",
    ),
    // --- idempotency ---
    key(
        "routes.*.idempotency.key",
        Kind::Template,
        "\"{header.idempotency-key}\"",
        "\"{json:/event/id}\"",
        "What is the same in repeated calls, and in no others.",
    ),
    key(
        "routes.*.idempotency.required",
        Kind::Boolean,
        "false",
        "true",
        "Whether a request without a key is answered with 400. Otherwise it is taken as one that is never repeated.",
    ),
    key(
        "routes.*.idempotency.ttl",
        Kind::Duration,
        "24h",
        "7d",
        "How long the first answer is kept. Afterwards the key is new again.",
    ),
    key(
        "routes.*.idempotency.scope",
        Kind::Template,
        "the route",
        "\"{header.x-tenant}\"",
        "Whose keys they are: the same key in another scope is another key.",
    ),
    key(
        "routes.*.idempotency.max_bytes",
        Kind::Size,
        "256MiB",
        "1GiB",
        "The most that the keys and answers of this route may take on disk. Beyond it, new keys are answered with 503.",
    ),
    // --- limits ---
    key(
        "routes.*.limits.concurrency",
        Kind::Integer {
            low: 1,
            high: 1_000_000,
        },
        "",
        "8",
        "Calls under way at once, per process. On a route that takes from a queue it is `from.amqp.concurrency`, and at most 10000.",
    ),
    key(
        "routes.*.limits.rate",
        Kind::Rate,
        "",
        "100/s",
        "Calls in a time, per process. A message of a queue that waits for its turn is unacknowledged, and the broker takes it back after 30 minutes: `prefetch` is lowered so that none waits longer than 10.",
    ),
    key(
        "routes.*.limits.burst",
        Kind::Integer {
            low: 1,
            high: 1_000_000,
        },
        "what one second brings; 1 towards a backend",
        "20",
        "Calls that may come at once after a pause.",
    ),
    // --- circuit ---
    key(
        "routes.*.circuit.failures",
        Kind::Integer {
            low: 1,
            high: 1_000_000,
        },
        "10",
        "5",
        "Failures in a row after which the backend counts as down. A success, or any answer that is not in `on`, starts the count again.",
    ),
    key(
        "routes.*.circuit.on",
        Kind::Outcomes,
        "[connect, timeout, 502-504]",
        "[connect, 5xx]",
        "What counts as such a failure: `connect` (the backend cannot be reached), `timeout`, and statuses.",
    ),
    key(
        "routes.*.circuit.pause",
        Kind::Duration,
        "1s",
        "500ms",
        "How long the backend is left alone before it is tried with one message. It doubles each time that this fails.",
    ),
    key(
        "routes.*.circuit.pause_max",
        Kind::Duration,
        "the longer of 30s and `pause`",
        "1m",
        "The longest such pause.",
    ),
];
