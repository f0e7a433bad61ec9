//! The smallest correct deliver: consume, call, acknowledge what the backend has taken.

use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use lapin::{
    Connection, ConnectionProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{sync::Semaphore, task::JoinSet};

type Backend = Client<HttpConnector, Full<Bytes>>;

/// Delivers until something fails, `concurrency` calls at a time.
pub(crate) async fn run(
    url: &str,
    queue: &str,
    backend: &str,
    concurrency: u16,
) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(concurrency.saturating_mul(2), BasicQosOptions::default())
        .await?;
    let (tag, options) = ("".into(), BasicConsumeOptions::default());
    let mut consumer = channel
        .basic_consume(queue.into(), tag, options, FieldTable::default())
        .await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Backend = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(concurrency.into())
        .build(connector);
    let permits = Arc::new(Semaphore::new(concurrency.into()));
    let mut calls = JoinSet::new();
    while let Some(delivery) = consumer.next().await {
        let permit = permits.clone().acquire_owned().await?;
        let call = deliver(delivery?, client.clone(), backend.to_owned());
        calls.spawn(async move {
            let settled = call.await;
            drop(permit);
            settled
        });
        while let Some(ended) = calls.try_join_next() {
            ended??;
        }
    }
    anyhow::bail!("the broker ended the consumer")
}

async fn deliver(mut delivery: Delivery, client: Backend, backend: String) -> anyhow::Result<()> {
    let id = delivery.properties.message_id().clone().context("an id")?;
    let body = Full::new(std::mem::take(&mut delivery.data).into());
    let request = Request::post(backend)
        .header("message-id", id.as_str())
        .body(body)?;
    let taken = match client.request(request).await {
        // The body is read to its end, or the connection is not used again.
        Ok(response) if response.status().is_success() => response.collect().await.is_ok(),
        _ => false,
    };
    if taken {
        delivery.ack(BasicAckOptions::default()).await?;
    } else {
        let requeue = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        delivery.nack(requeue).await?;
    }
    Ok(())
}
