//! The smallest correct accept: hyper in front of a few confirm channels.
//!
//! Correct means: 202 only for a persistent message that the broker has confirmed and not returned.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
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
/// Says which publish of its window a returned message was.
const INDEX: &str = "window-index";

type Requests = Arc<Mutex<mpsc::Receiver<Publish>>>;

struct Publish {
    id: Uuid,
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
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
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
    let id = Uuid::now_v7();
    let status = publish(request, id, &publisher).await;
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::ACCEPTED {
        let body = format!(r#"{{"id":"{id}","status":"accepted"}}"#);
        *response.body_mut() = Full::new(body.into());
    }
    if let Ok(value) = id.to_string().parse() {
        response.headers_mut().insert("message-id", value);
    }
    Ok(response)
}

async fn publish(
    request: Request<Incoming>,
    id: Uuid,
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

/// Owns its channel: takes a window, publishes it, awaits every confirm, then matches the returns.
async fn lane(channel: Channel, queue: String, requests: Requests) -> anyhow::Result<()> {
    loop {
        let mut window = Vec::with_capacity(WINDOW);
        if requests.lock().await.recv_many(&mut window, WINDOW).await == 0 {
            return Ok(());
        }
        let writes = window
            .iter()
            .enumerate()
            .map(|(index, publish)| write(&channel, &queue, index, publish));
        let confirms = join_all(writes)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let mut statuses = vec![StatusCode::ACCEPTED; window.len()];
        for (index, confirm) in confirms.into_iter().enumerate() {
            let (confirmed, returned) = match confirm.await? {
                Confirmation::Ack(returned) => (true, returned),
                Confirmation::Nack(returned) => (false, returned),
                Confirmation::NotRequested => (false, None),
            };
            if let Some(status) = statuses.get_mut(index).filter(|_| !confirmed) {
                *status = StatusCode::SERVICE_UNAVAILABLE;
            }
            // Its own confirm or another's: the client library hands returns out as they come.
            let unroutable = returned.and_then(|message| index_of(&message.properties));
            if let Some(status) = unroutable.and_then(|index| statuses.get_mut(index)) {
                *status = StatusCode::BAD_GATEWAY;
            }
        }
        for (publish, status) in window.into_iter().zip(statuses) {
            publish.answer.send(status).ok();
        }
    }
}

async fn write(
    channel: &Channel,
    queue: &str,
    index: usize,
    publish: &Publish,
) -> lapin::Result<lapin::PublisherConfirm> {
    let mut headers = FieldTable::default();
    headers.insert(
        INDEX.into(),
        AMQPValue::LongUInt(u32::try_from(index).unwrap_or(u32::MAX)),
    );
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(publish.id.to_string().into())
        .with_headers(headers);
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    channel
        .basic_publish("".into(), queue.into(), options, &publish.body, properties)
        .await
}

fn index_of(properties: &BasicProperties) -> Option<usize> {
    match properties.headers().as_ref()?.inner().get(INDEX)? {
        AMQPValue::LongUInt(index) => usize::try_from(*index).ok(),
        _ => None,
    }
}
