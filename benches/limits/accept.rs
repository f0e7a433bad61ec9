//! The smallest correct accept: hyper in front of a few confirm channels.
//!
//! Correct means: 202 only for a persistent message that the broker has confirmed and not returned.

use std::{collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

const LANES: usize = 4;
const WINDOW: usize = 64;
const BODY_LIMIT: usize = 1 << 20;
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);

type Requests = Arc<Mutex<mpsc::Receiver<Publish>>>;

struct Publish {
    id: ShortString,
    body: Bytes,
    answer: oneshot::Sender<StatusCode>,
}

/// Serves until something fails.
pub(crate) async fn run(url: &str, queue: &str, port: u16) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let (publisher, requests) = mpsc::channel(4096);
    let requests: Requests = Arc::new(Mutex::new(requests));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let channel = connection.create_channel().await?;
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await?;
        lanes.spawn(lane(channel, queue.to_owned(), requests.clone()));
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            ended = lanes.join_next() => return ended.context("no lanes")??,
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let publisher = publisher.clone();
                let service = service_fn(move |request| accept(request, publisher.clone()));
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new());
                connections.spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        }
    }
}

async fn accept(
    request: Request<Incoming>,
    publisher: mpsc::Sender<Publish>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let id = Uuid::now_v7().to_string();
    let status = publish(request, id.as_str().into(), &publisher).await;
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::ACCEPTED {
        let body = format!(r#"{{"id":"{id}","status":"accepted"}}"#);
        *response.body_mut() = Full::new(body.into());
    }
    Ok(response)
}

async fn publish(
    request: Request<Incoming>,
    id: ShortString,
    publisher: &mpsc::Sender<Publish>,
) -> StatusCode {
    let Ok(body) = Limited::new(request.into_body(), BODY_LIMIT)
        .collect()
        .await
    else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let (answer, outcome) = oneshot::channel();
    let body = body.to_bytes();
    if publisher.try_send(Publish { id, body, answer }).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match timeout(CONFIRM_LIMIT, outcome).await {
        Ok(Ok(status)) => status,
        _ => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Owns its channel: publishes a window, awaits every confirm, and only then matches the returns,
/// which the client library hands to whichever confirm is next.
async fn lane(channel: Channel, queue: String, requests: Requests) -> anyhow::Result<()> {
    loop {
        let mut window = Vec::with_capacity(WINDOW);
        if requests.lock().await.recv_many(&mut window, WINDOW).await == 0 {
            return Ok(());
        }
        let writes = window.iter().map(|each| write(&channel, &queue, each));
        let mut acked = Vec::with_capacity(WINDOW);
        let mut returned = HashSet::new();
        for confirm in try_join_all(writes).await? {
            let (ack, message) = match confirm.await? {
                Confirmation::Ack(message) => (true, message),
                Confirmation::Nack(message) => (false, message),
                Confirmation::NotRequested => (false, None),
            };
            acked.push(ack);
            returned.extend(message.and_then(|message| message.properties.message_id().clone()));
        }
        for (publish, ack) in window.into_iter().zip(acked) {
            let status = match ack {
                _ if returned.contains(&publish.id) => StatusCode::BAD_GATEWAY,
                true => StatusCode::ACCEPTED,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            publish.answer.send(status).ok();
        }
    }
}

async fn write(channel: &Channel, to: &str, publish: &Publish) -> lapin::Result<PublisherConfirm> {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(publish.id.clone());
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    channel
        .basic_publish("".into(), to.into(), options, &publish.body, properties)
        .await
}
