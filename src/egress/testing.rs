//! A forwarder between a queue, a broker and a backend that do what the test says.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{CircuitView, Client, Forwarder};
use crate::{
    amqp::testing::{Broker, Queue, broker, queue},
    buffer::Buffer,
    config::model::{
        AmqpSource, Circuit, CircuitOn, Deliver, Failure, Flow, HeaderRules, HttpTarget, Limits,
        Park, Retry, Route, UrlTarget,
    },
    message::Message,
    policy::{Schedule, StatusSet},
    task,
    telemetry::{Metrics, Side},
    template::Template,
};

pub(super) struct Rig {
    pub(super) circuit: Option<CircuitView>,
    pub(super) queue: Queue,
    pub(super) broker: Broker,
    pub(super) drain: CancellationToken,
    pub(super) abort: CancellationToken,
    pub(super) done: JoinHandle<usize>,
    metrics: Metrics,
}

/// A backend that answers when the test does.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    calls: mpsc::Receiver<Seen>,
}

/// A call that waits for its answer.
pub(super) struct Seen {
    pub(super) request: Request<Bytes>,
    answer: oneshot::Sender<Response<Full<Bytes>>>,
}

pub(super) fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}

pub(super) fn message(body: &'static [u8]) -> Message {
    let mut table = FieldTable::default();
    table.insert(short("x-tenant"), AMQPValue::LongString("acme".into()));
    Message {
        exchange: short("orders"),
        routing_key: short("order.placed"),
        redelivered: false,
        properties: BasicProperties::default()
            .with_headers(table)
            .with_message_id(short("m-1")),
        body: Bytes::from_static(body),
    }
}

/// One message at a time to `url`, two tiers, parked in `parked`.
pub(super) fn route(url: &str) -> Deliver {
    let delays = vec![Duration::from_secs(1), Duration::from_secs(60)];
    Deliver {
        source: AmqpSource {
            queue: "work".into(),
            concurrency: 1,
            prefetch: 2,
        },
        target: HttpTarget {
            url: UrlTarget::Exact(Template::literal(url)),
            method: None,
            timeout: Duration::from_secs(20),
            success: StatusSet::success(),
            response_limit: 1024,
        },
        headers: HeaderRules::default(),
        reply_headers: HeaderRules::default(),
        failure: Failure {
            retry: Some(Retry {
                schedule: Schedule::new(delays, None).unwrap(),
                on: StatusSet::retryable(),
            }),
            park: Park::Queue {
                name: "parked".into(),
            },
        },
        circuit: None,
        limits: Limits::default(),
    }
}

/// Opens after `failures`, and is tried again every 20 ms.
pub(super) fn circuit(failures: u32) -> Option<Circuit> {
    Some(Circuit {
        failures,
        on: CircuitOn {
            connect: true,
            timeout: true,
            statuses: StatusSet::unavailable(),
        },
        pause: Duration::from_millis(20),
        pause_max: Duration::from_millis(20),
    })
}

impl Rig {
    pub(super) fn start(deliver: Deliver) -> Self {
        let (queue, deliveries) = queue(64);
        let (publisher, broker) = broker(16);
        let metrics = Metrics::new().unwrap();
        let route = Route {
            name: "fulfil".into(),
            place: "hareway.yaml:1:1".into(),
            flow: Flow::Deliver(deliver),
        };
        let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
        let forwarder = Forwarder::new(
            &route,
            deliveries,
            publisher,
            Client::new(64).unwrap(),
            metrics.route(&route.name, Side::Deliver),
            Buffer::new(1024 * 1024),
        );
        let forwarder = forwarder.unwrap();
        let circuit = forwarder.circuit();
        let run = forwarder.run(drain.clone(), abort.clone());
        let done = task::spawn(&TaskTracker::new(), "forwarder", run);
        Self {
            circuit,
            queue,
            broker,
            drain,
            abort,
            done,
            metrics,
        }
    }

    /// How many deliveries ended as `outcome`.
    pub(super) fn counted(&self, outcome: &str) -> u64 {
        let line = format!("hareway_deliveries_total{{outcome=\"{outcome}\",route=\"fulfil\"}} ");
        self.metric(&line)
    }

    /// The value of the line of the metrics that begins so; 0 where there is none.
    pub(super) fn metric(&self, line: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        text.lines()
            .find_map(|found| found.strip_prefix(line))
            .map_or(0, |count| count.parse().unwrap())
    }
}

impl Backend {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, calls) = mpsc::channel(64);
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        task::spawn(&tasks, "backend", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request| answer(request, seen.clone()));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                task::spawn(&connections, "connection", connection);
            }
        });
        Self { address, calls }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/orders", self.address)
    }

    pub(super) async fn call(&mut self) -> Seen {
        self.calls.recv().await.expect("a call")
    }

    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: mpsc::Sender<Seen>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let request = Request::from_parts(head, body);
    let (answer, answered) = oneshot::channel();
    seen.send(Seen { request, answer }).await.expect("a test");
    match answered.await {
        Ok(response) => Ok(response),
        // The test has dropped the call: it never ends.
        Err(_) => std::future::pending().await,
    }
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    pub(super) fn respond(self, response: Response<Full<Bytes>>) {
        // The caller may have given up.
        self.answer.send(response).ok();
    }

    pub(super) fn status(self, status: u16) {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        self.respond(response);
    }
}

/// An address on which nobody listens.
pub(super) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    format!("http://{address}/")
}
