//! Pooled channels for work at a low rate: declarations, counts.
//!
//! A failed declaration closes its channel (AMQP 0-9-1 §4.10), so these never share a channel with
//! publishing or consuming; the pool throws a closed one away.

use std::{sync::Arc, time::Duration};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use lapin::{Channel, Connection};

use super::error::{Error, bounded};

const OPEN_LIMIT: Duration = Duration::from_secs(5);
const POOLED: usize = 4;

/// Opens channels on one connection.
#[derive(Debug)]
pub(super) struct Manager(Arc<Connection>);

/// The pool of one session; it dies with its connection.
pub(super) type Channels = managed::Pool<Manager>;

/// A pool on `connection`.
pub(super) fn pool(connection: &Arc<Connection>) -> Result<Channels, Error> {
    Channels::builder(Manager(connection.clone()))
        .max_size(POOLED)
        .wait_timeout(Some(OPEN_LIMIT))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .map_err(|error| Error::Connection(error.to_string()))
}

/// A channel that was open a moment ago.
pub(super) async fn get(pool: &Channels) -> Result<managed::Object<Manager>, Error> {
    pool.get().await.map_err(|error| match error {
        managed::PoolError::Backend(error) => error,
        other => Error::Connection(other.to_string()),
    })
}

impl managed::Manager for Manager {
    type Type = Channel;
    type Error = Error;

    async fn create(&self) -> Result<Channel, Error> {
        bounded(OPEN_LIMIT, "opening a channel", self.0.create_channel()).await
    }

    async fn recycle(&self, channel: &mut Channel, _: &Metrics) -> RecycleResult<Error> {
        if channel.status().connected() {
            Ok(())
        } else {
            Err(RecycleError::message("closed"))
        }
    }
}
