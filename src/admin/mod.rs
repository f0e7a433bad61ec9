//! The operator's listener: health, metrics, routes, version, parked messages, spools. Loopback
//! unless configured otherwise.

mod caller;
mod order;
mod pages;
mod parked;
pub mod spool;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    pages::{Found, PAGES, Page, Pages},
    parked::Parked,
    spool::Spools,
};
use crate::{
    amqp::NotReady,
    config::{Config, Described, model::Route},
    server::{self, Handler, Kind, Limits, Problem, Response},
    store::Store,
    telemetry::Metrics,
};

/// Scrapers, probes and people; far fewer than callers.
const CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Every page of this listener, in OpenAPI 3.1; a test compares it with the table of pages.
const OPEN_API: &str = include_str!("openapi.yaml");

/// How ready a process is for calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it is not; empty means ready.
    pub reasons: Vec<NotReady>,
    /// What is not well, and keeps no call from being taken.
    pub warnings: Vec<NotReady>,
}

/// What the running bridge tells about itself.
pub trait State: Send + Sync + 'static {
    /// Everything that is not well.
    fn readiness(&self) -> Readiness;

    /// Brings gauges up to date that nothing else moves; called before each scrape.
    fn refresh(&self);

    /// What the route does at this moment, in a few words.
    fn route_state(&self, route: &Route) -> String;
}

/// The admin side.
pub struct Admin<S> {
    config: Arc<Config>,
    metrics: Metrics,
    state: S,
    pages: Pages,
    parked: Arc<Parked>,
    spools: Spools,
    /// Whether it listens there.
    loopback: bool,
}

impl<S: State> Admin<S> {
    /// `store` where a route needs one.
    pub fn new(config: Arc<Config>, metrics: Metrics, state: S, store: Option<Store>) -> Self {
        let parked = Arc::new(Parked::new(&config, &metrics));
        Self {
            config,
            metrics,
            state,
            pages: Pages::new(),
            parked,
            spools: Spools::new(store),
            loopback: false,
        }
    }

    /// Serves until `stop`; returns when all connections are done, or soon after `abort`.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        stop: CancellationToken,
        abort: CancellationToken,
    ) -> usize {
        let limits = Limits {
            connections: CONNECTIONS,
            header_timeout: HEADER_TIMEOUT,
            used: None,
        };
        let address = listener.local_addr();
        self.loopback = address.is_ok_and(|address| address.ip().is_loopback());
        let parked = self.parked.clone();
        parked.follow(&stop);
        let left = server::serve(listener, Arc::new(self), limits, stop, abort).await;
        parked.finish().await;
        left
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Response {
        let Some(found) = self.pages.find(request.uri().path(), request.method()) else {
            let known: Vec<_> = PAGES.iter().map(|(path, _)| *path).collect();
            let known = format!("there are {}", known.join(", "));
            return Problem::new(Kind::NotFound, known).into_response();
        };
        if !found.page.takes(request.method()) {
            return Problem::not_allowed(found.page.allow()).into_response();
        }
        if let Some(why) = self.refusal(found.page, &request) {
            let (parts, body) = request.into_parts();
            let problem = Problem::new(Kind::Forbidden, why);
            let tracker = TaskTracker::new();
            return server::refuse(
                problem,
                parts.version,
                &parts.headers,
                body,
                false,
                &tracker,
            );
        }
        self.answer(found, request).await
    }

    /// Pages about messages are not for web pages of others; the rest is for probes, by any name.
    fn refusal(&self, page: Page, request: &Request<Incoming>) -> Option<&'static str> {
        if !matches!(page, Page::Parked(_) | Page::Spool(_)) {
            return None;
        }
        caller::refusal(request.uri(), request.headers(), page.acts(), self.loopback)
    }

    async fn answer(&self, found: Found, request: Request<Incoming>) -> Response {
        match found.page {
            Page::Healthz => json(StatusCode::OK, &json!({ "status": "alive" })),
            Page::Readyz => self.readiness(),
            Page::Metrics => self.scrape(),
            Page::Routes => self.routes(),
            Page::Version => {
                let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
                json(StatusCode::OK, &json!({ "name": name, "version": version }))
            }
            Page::OpenApi => {
                let kind = HeaderValue::from_static("application/yaml");
                answer(StatusCode::OK, kind, OPEN_API)
            }
            Page::Parked(which) => self.parked.respond(which, found, request).await,
            Page::Spool(which) => self.spools.respond(which, found, request).await,
        }
    }

    fn readiness(&self) -> Response {
        let Readiness { reasons, warnings } = self.state.readiness();
        let (status, word) = match reasons.as_slice() {
            [] => (StatusCode::OK, "ready"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        };
        let page = json!({ "status": word, "reasons": reasons, "warnings": warnings });
        json(status, &page)
    }

    fn scrape(&self) -> Response {
        self.state.refresh();
        match self.metrics.render() {
            Ok(text) => answer(
                StatusCode::OK,
                HeaderValue::from_static("text/plain; version=0.0.4"),
                text,
            ),
            Err(error) => {
                tracing::error!(%error, "cannot write the metrics");
                let problem = Problem::new(Kind::Internal, "the metrics cannot be written");
                problem.into_response()
            }
        }
    }

    fn routes(&self) -> Response {
        let describe = |route: &Arc<Route>| {
            let described = Described::new(route);
            json!({
                "name": &*described.name,
                "place": described.place,
                "flow": described.flow,
                "from": described.from,
                "to": described.to,
                "guarantee": described.guarantee,
                "state": self.state.route_state(route),
            })
        };
        let routes: Vec<_> = self.config.routes.iter().map(describe).collect();
        json(StatusCode::OK, &json!({ "routes": routes }))
    }
}

impl<S: State> Handler for Admin<S> {
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response> + Send + 'static {
        self.respond(request)
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    answer(status, kind, value.to_string())
}

fn answer(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
