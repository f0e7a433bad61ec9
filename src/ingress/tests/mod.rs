//! The inbound flows on a real socket, with a broker that does what the test says.

mod accept;
mod former_routes;
mod idempotency;
mod limits;
mod request_reply;
mod router;
mod spool;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Ingress;
use crate::{
    amqp::{
        Replies,
        testing::{Broker, broker},
    },
    buffer::Buffer,
    config::model::{
        Accepted, AmqpTarget, Answer, Flow, HeaderRules, HttpSource, Inbound, Limits, PathPattern,
        Route, Unroutable,
    },
    server::testing::{Client, PATIENCE, config, listener},
    store::Store,
    telemetry::Metrics,
    template::{Part, Source, Template},
};

/// Publishes under way at once.
const IN_FLIGHT: usize = 2;

struct Bridge {
    address: SocketAddr,
    broker: Broker,
    replies: Replies,
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl Bridge {
    async fn start(routes: Vec<Route>) -> Self {
        Self::with_limit(IN_FLIGHT, routes).await
    }

    async fn with_limit(in_flight: usize, routes: Vec<Route>) -> Self {
        Self::with_store(in_flight, routes, None).await
    }

    async fn with_store(in_flight: usize, routes: Vec<Route>, store: Option<&Store>) -> Self {
        let (publisher, broker) = broker(in_flight);
        let metrics = Metrics::new().unwrap();
        let replies = Replies::new("test");
        let mut config = config();
        config.routes = routes.into_iter().map(Arc::new).collect();
        let buffer = Buffer::new(config.buffer_limit);
        let ingress = Ingress::new(&config, publisher, replies.clone(), &metrics, buffer, store);
        let mut ingress = ingress.unwrap();
        let (listener, address) = listener().await;
        let stop = CancellationToken::new();
        for drain in ingress.take_drains() {
            crate::task::spawn(&TaskTracker::new(), "drain", drain.run(stop.clone()));
        }
        let serving = ingress.serve(listener, stop.clone(), CancellationToken::new());
        let task = crate::task::spawn(&TaskTracker::new(), "ingress", serving);
        Self {
            address,
            broker,
            replies,
            metrics,
            stop,
            task,
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// The value of one line of the metrics; 0 where there is none.
    fn metric(&self, line: &str) -> f64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        text.lines()
            .find_map(|known| known.strip_prefix(line)?.trim().parse().ok())
            .unwrap_or(0.0)
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "not in time: {what}");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// `POST /orders/{region}` to the exchange `orders`, key `order.{path.region}`.
fn inbound(answer: Answer) -> Inbound {
    let key = Template::from_parts(vec![
        Part::Literal("order.".into()),
        Part::Value {
            source: Source::Path("region".into()),
            verbatim: false,
            fallback: None,
        },
    ]);
    Inbound {
        source: HttpSource {
            method: Some(http::Method::POST),
            path: PathPattern {
                text: "/orders/{region}".to_owned(),
                parameters: vec!["region".into()],
                wildcard: false,
            },
            body_limit: 1000,
        },
        target: AmqpTarget {
            exchange: "orders".to_owned(),
            routing_key: key,
            message_id: None,
            kind: None,
            priority: None,
            expiration: None,
            persistent: true,
            confirm_timeout: PATIENCE,
            unroutable: Unroutable::Refuse,
            carry_path: false,
        },
        headers: HeaderRules::default(),
        answer,
        spool: None,
        idempotency: None,
        limits: Limits::default(),
    }
}

fn accepted() -> Answer {
    Answer::Accepted(Accepted {
        status: StatusCode::ACCEPTED,
        body: None,
        headers: HeaderMap::new(),
    })
}

fn route(name: &str, inbound: Inbound) -> Route {
    Route {
        name: name.into(),
        place: "hareway.yaml:1:1".to_owned(),
        flow: Flow::Inbound(inbound),
    }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}
