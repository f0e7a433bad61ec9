//! The names of headers that mean something to Hareway itself.

/// The status of a reply (an integer, or its digits).
pub const HTTP_STATUS: &str = "http-status";
/// The method of the request that became the message.
pub const HTTP_METHOD: &str = "http-method";
/// Its path, as it was on the wire.
pub const HTTP_PATH: &str = "http-path";
/// Its query, without the question mark; absent where there was none.
pub const HTTP_QUERY: &str = "http-query";

/// Begins the name of every header that Hareway gives to messages for its own use.
pub const PREFIX: &str = "hareway-";
/// Begins the name of a header with a path parameter, decoded: `hareway-path-region`.
pub const PATH_PREFIX: &str = "hareway-path-";
/// Failed attempts to deliver the message, so far.
pub const ATTEMPT: &str = "hareway-attempt";
/// When the first of them failed (AMQP timestamp).
pub const FIRST_FAILED_AT: &str = "hareway-first-failed-at";
/// What the last of them failed of.
pub const LAST_ERROR: &str = "hareway-last-error";
/// The status of the last of them, where there was one.
pub const STATUS: &str = "hareway-status";
/// Why a message was parked, in one word.
pub const REASON: &str = "hareway-reason";
/// When it was parked (AMQP timestamp).
pub const PARKED_AT: &str = "hareway-parked-at";
/// The exchange to which the message was published first.
pub const EXCHANGE: &str = "hareway-exchange";
/// The routing key with which it was published first.
pub const ROUTING_KEY: &str = "hareway-routing-key";
/// The queue from which the route took it.
pub const QUEUE: &str = "hareway-queue";
/// The route that failed to deliver it.
pub const ROUTE: &str = "hareway-route";
/// The message's own `expiration`, taken off while it waits.
pub const EXPIRATION: &str = "hareway-expiration";
/// The message's own `user_id`: the broker refuses one that is not the publishing connection's.
pub const USER_ID: &str = "hareway-user-id";
/// The message's own `CC`, by which the broker would route its copy to those queues again.
pub const CC: &str = "hareway-cc";
/// How many of the message's own headers no longer fitted beside Hareway's.
pub const DROPPED_HEADERS: &str = "hareway-dropped-headers";
/// How often it has been replayed.
pub const REPLAYS: &str = "hareway-replays";
/// When it was replayed last (AMQP timestamp).
pub const REPLAYED_AT: &str = "hareway-replayed-at";
/// Failed attempts before its replays, summed up; [`ATTEMPT`] starts anew.
pub const EARLIER_ATTEMPTS: &str = "hareway-earlier-attempts";
/// Which look at its queue put the message back as a copy of itself.
pub const RENEWED: &str = "hareway-renewed";
