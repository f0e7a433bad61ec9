//! The keys of what becomes of a message after its way, and of headers.

use super::{Key, Kind, key};

/// A header name, or a list of them.
const PATTERNS: Kind = Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)]);

pub(super) const KEYS: &[Key] = &[
    // --- reply ---
    key(
        "routes.*.reply.timeout",
        Kind::Duration,
        "10s",
        "5s",
        "From the arrival of the request to its response; afterwards the caller gets 504.",
    ),
    key(
        "routes.*.reply.queue",
        Kind::Text,
        "this process's own queue",
        "quotes.replies",
        "A queue with a fixed name for workers that insist on one. Several processes may share it.",
    ),
    key(
        "routes.*.reply.correlate",
        Kind::Words(&["correlation_id", "message_id"]),
        "correlation_id",
        "message_id",
        "The property of the request that workers copy into the reply's correlation id. `message_id` is the habit of JMS.",
    ),
    key(
        "routes.*.reply.status",
        Kind::Template,
        "the reply's http-status, else 200",
        "\"{header.result-code:-200}\"",
        "The response's status.",
    ),
    key(
        "routes.*.reply.waiting",
        Kind::Integer {
            low: 1,
            high: 1_000_000,
        },
        "10000",
        "500",
        "Calls held at once on this route. Beyond it, requests are answered with 503.",
    ),
    key(
        "routes.*.reply.headers",
        Kind::Map,
        "",
        "{ pass: [\"x-*\"] }",
        "Which headers cross over from reply to response, and which are set.",
    ),
    key(
        "routes.*.reply.headers.pass",
        PATTERNS,
        "",
        "[\"x-request-*\", etag]",
        "Only these headers cross over. A final `*` stands for any ending.",
    ),
    key(
        "routes.*.reply.headers.drop",
        PATTERNS,
        "",
        "[\"x-internal-*\"]",
        "These headers do not cross over.",
    ),
    key(
        "routes.*.reply.headers.set",
        Kind::Headers,
        "",
        "{ x-worker: \"{property.app_id:-unknown}\" }",
        "Headers that are set, over those that cross over.",
    ),
    // --- retry, accepted, headers ---
    key(
        "routes.*.retry.delays",
        Kind::List(&Kind::Duration),
        "[1s, 10s, 1m, 10m]",
        "[5s, 1m, 1h]",
        "The pauses before the second, third, … attempt. The last is repeated until `for` has passed.",
    ),
    key(
        "routes.*.retry.for",
        Kind::Duration,
        "one pass through the delays",
        "1d",
        "How long after the first attempt the last one may begin.",
    ),
    key(
        "routes.*.retry.on",
        Kind::Statuses,
        "[408, 425, 429, 5xx]",
        "[429, 502-504]",
        "Statuses that are worth another attempt. A backend that cannot be reached or does not answer in time always is; every other failure is parked at once.",
    ),
    key(
        "routes.*.accepted.status",
        Kind::Integer {
            low: 200,
            high: 299,
        },
        "202",
        "200",
        "The response's status.",
    ),
    key(
        "routes.*.accepted.body",
        Kind::Text,
        "a JSON object with the message's id and status",
        "ok",
        "The response's body.",
    ),
    key(
        "routes.*.accepted.headers",
        Kind::Texts,
        "",
        "{ cache-control: no-store }",
        "Headers of the response.",
    ),
    key(
        "routes.*.headers.pass",
        PATTERNS,
        "",
        "[\"x-request-*\", accept]",
        "Only these headers cross over. A final `*` stands for any ending. Named here, `authorization` and `cookie` cross over too.",
    ),
    key(
        "routes.*.headers.drop",
        PATTERNS,
        "",
        "[\"x-internal-*\"]",
        "These headers do not cross over.",
    ),
    key(
        "routes.*.headers.set",
        Kind::Headers,
        "",
        "{ x-region: \"{path.region}\" }",
        "Headers that are set, over those that cross over.",
    ),
];
