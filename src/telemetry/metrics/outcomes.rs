//! The values of the label `outcome`.

/// What a publish came to; the label `outcome` of `hareway_published_total`.
pub const PUBLISH_OUTCOMES: [&str; 13] = [
    "routed",
    "spooled",
    "spool_full",
    "store_unavailable",
    "unroutable",
    "discarded",
    "nacked",
    "too_large",
    "refused",
    "unknown",
    "unavailable",
    "blocked",
    "overloaded",
];
/// What a delivery came to; the label `outcome` of `hareway_deliveries_total`.
pub const DELIVERY_OUTCOMES: [&str; 8] = [
    "delivered",
    "replied",
    "retried",
    "parked",
    "dropped",
    "requeued",
    "returned",
    "suppressed",
];
/// What a reply came to; the label `outcome` of `hareway_replies_total`.
pub const REPLY_OUTCOMES: [&str; 8] = [
    "matched",
    "late",
    "repeated",
    "unknown",
    "timeout",
    "abandoned",
    "bad",
    "handed_over",
];

/// What became of a call by its key; the label `outcome` of `hareway_idempotency_total`.
pub const IDEMPOTENCY_OUTCOMES: [&str; 6] = [
    "first",
    "replayed",
    "in_progress",
    "conflict",
    "taken_over",
    "refused",
];
