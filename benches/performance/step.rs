//! Messages that are published one after the other, each when the one before has been delivered:
//! the time of a message that nothing stands in front of.

use anyhow::Context;
use bytes::Bytes;
use lapin::BasicProperties;
use uuid::Uuid;

use crate::{
    backend::Arrivals,
    closed_loop::Caller,
    limits::lanes::{Outcome, Publisher},
};

pub(crate) struct Step {
    pub(crate) publisher: Publisher,
    pub(crate) arrivals: Arrivals,
    pub(crate) body: Bytes,
}

impl Caller for Step {
    async fn call(&mut self) -> anyhow::Result<()> {
        let id = Uuid::now_v7().to_string();
        let arrival = self.arrivals.of(id.clone());
        let properties =
            BasicProperties::default().with_content_type("application/octet-stream".into());
        let published = self.publisher.publish(&id, properties, self.body.clone());
        let outcome = published.await;
        anyhow::ensure!(outcome == Outcome::Routed, "a publish was {outcome:?}");
        arrival.await.context("the backend has gone")
    }
}
