//! What the tests stand on: a broker, the bridge, a backend, a faulty network, clients.

pub mod amqp;
pub mod backend;
pub mod bridge;
pub mod broker;
pub mod client;
pub mod inside;
pub mod lifeline;
pub mod proxy;
pub mod rig;
pub mod wire;
pub mod worker;

use std::time::Duration;

use tokio::time::Instant;

pub use amqp::Amqp;
pub use backend::{Answer, Backend};
pub use bridge::Bridge;
pub use broker::Broker;
pub use client::Client;
pub use inside::Inside;
pub use proxy::Proxy;
pub use rig::Rig;
pub use worker::Worker;

/// Long enough for anything that happens at once, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(20);

/// Asks again until the answer is there; the last refusal is shown when it never comes.
///
/// # Panics
/// After `limit`.
pub async fn eventually<T, F>(limit: Duration, what: &str, mut ask: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(refusal) if Instant::now() >= deadline => {
                panic!("{what}: not within {limit:?}; at last: {refusal}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A yes or no for [`eventually`].
pub fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
