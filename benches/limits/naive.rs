//! Accept as one writes it first, and still correct: a confirm channel for each HTTP connection,
//! and each request waits for the confirm of its own publish, the only one on the channel.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::time::timeout;

use super::server::{Handler, serve};

const CONFIRM_LIMIT: Duration = Duration::from_secs(5);

struct Naive {
    channel: Channel,
    queue: String,
}

/// Serves until something fails.
pub(crate) async fn run(url: &str, queue: &str, port: u16) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let handler = async || {
        let channel = connection.create_channel().await?;
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await?;
        Ok(Naive {
            channel,
            queue: queue.to_owned(),
        })
    };
    serve(port, handler).await
}

impl Naive {
    async fn publish(&self, id: &str, body: &[u8]) -> lapin::Result<Confirmation> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.into());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let queue = self.queue.as_str().into();
        let confirm = self
            .channel
            .basic_publish("".into(), queue, options, body, properties);
        confirm.await?.await
    }
}

impl Handler for Naive {
    async fn handle(&self, id: &str, body: Bytes) -> StatusCode {
        match timeout(CONFIRM_LIMIT, self.publish(id, &body)).await {
            Ok(Ok(Confirmation::Ack(None))) => StatusCode::ACCEPTED,
            Ok(Ok(Confirmation::Ack(Some(_)))) => StatusCode::BAD_GATEWAY,
            Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Ok(Err(_)) => StatusCode::BAD_GATEWAY,
            Err(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}
