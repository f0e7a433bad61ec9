//! The smallest correct accept: hyper in front of a few confirm channels.

use bytes::Bytes;
use hyper::StatusCode;
use lapin::{BasicProperties, Connection, ConnectionProperties};

use super::{
    lanes::{Lanes, Outcome, Publisher},
    server::{Handler, serve},
};

struct Accept(Publisher);

/// Serves until something fails.
pub(crate) async fn run(url: &str, queue: &str, port: u16) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let lanes = Lanes::open(&connection, queue).await?;
    serve(port, async || Ok(Accept(lanes.publisher()))).await
}

impl Handler for Accept {
    async fn handle(&self, id: &str, body: Bytes) -> StatusCode {
        let Self(publisher) = self;
        match publisher
            .publish(id, BasicProperties::default(), body)
            .await
        {
            Outcome::Routed => StatusCode::ACCEPTED,
            Outcome::Returned => StatusCode::BAD_GATEWAY,
            Outcome::Nacked | Outcome::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Outcome::Unknown => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}
