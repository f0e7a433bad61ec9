//! The pure parts at work, one operation each: what the micro benches time and the cost tests
//! count.
//!
//! The router and the table of replies are private to their modules. They are compiled here once
//! more from their own sources, so that measuring them does not make them public; whoever includes
//! this module imports `config`, `message`, `server` and `telemetry` of the library at the root of
//! its crate, where those sources look for them.

pub(crate) mod configuration;
pub(crate) mod mapping;
pub(crate) mod rendering;
pub(crate) mod replies;
pub(crate) mod routing;

#[path = "../../src/ingress/path.rs"]
mod path;
#[path = "../../src/ingress/router.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library uses all of it")]
mod router;
#[path = "../../src/amqp/replies.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library uses all of it")]
mod table;
