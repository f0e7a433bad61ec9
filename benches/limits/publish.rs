//! A bare confirmed publisher: tasks that each wait for their own confirm. No HTTP.

use anyhow::ensure;
use bytes::Bytes;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use uuid::Uuid;

use super::lanes::{Lanes, Outcome, Publisher};
use crate::closed_loop::Caller;

/// The connection, to be kept while publishing, and what the tasks need.
pub(crate) struct Publishing {
    lanes: Lanes,
    _connection: Connection,
    body: Bytes,
}

/// One task's.
pub(crate) struct Task {
    publisher: Publisher,
    body: Bytes,
}

impl Publishing {
    pub(crate) async fn open(url: &str, queue: &str, body: usize) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        Ok(Self {
            lanes: Lanes::open(&connection, queue).await?,
            _connection: connection,
            body: vec![b'x'; body].into(),
        })
    }

    pub(crate) fn task(&self) -> Task {
        Task {
            publisher: self.lanes.publisher(),
            body: self.body.clone(),
        }
    }
}

impl Caller for Task {
    async fn call(&mut self) -> anyhow::Result<()> {
        let id = Uuid::now_v7().to_string();
        let properties = BasicProperties::default();
        let published = self.publisher.publish(&id, properties, self.body.clone());
        let outcome = published.await;
        ensure!(outcome == Outcome::Routed, "a publish was {outcome:?}");
        Ok(())
    }
}
