//! HTTP in: routing, accepting, holding calls for their replies.

mod accept;
mod call;
mod caller_ids;
mod draft;
mod idempotency;
mod inlet;
mod limits;
mod path;
mod patience;
mod request_reply;
mod respond;
mod router;
mod spool;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Version, header};
use hyper::body::Incoming;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use inlet::NameTooLong;
pub use router::RouteConflict;
pub use spool::Drain;

use crate::{
    amqp::{Publisher, Replies},
    buffer::Buffer,
    config::{
        Config,
        model::{Answer, Http, Inbound, Route},
        names,
    },
    server::{self, BodyLimits, Handler, Limits, Problem, Response, body, refuse},
    store::Store,
    telemetry::{Metrics, RouteMetrics, Side},
};
use call::Call;
use draft::{Draft, Received};
use idempotency::{Guard, Identity};
use inlet::Inlet;
use router::{Found, Missed, Router};
use spool::{Outbox, Settings};

/// The inbound side: everything between a listener and the publisher.
#[derive(Debug)]
pub struct Ingress {
    router: ArcSwap<Router<Inlet>>,
    publisher: Publisher,
    replies: Replies,
    buffer: Buffer,
    /// For requests that no route takes.
    unmatched: RouteMetrics,
    http: Http,
    limits: Limits,
    drains: Vec<Drain>,
    /// What outlives its request: publishes whose client has left, bodies being thrown away.
    tracker: TaskTracker,
}

/// Why the inbound side cannot be built. A compiled configuration has none of these.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    #[error(transparent)]
    Conflict(#[from] RouteConflict),
    #[error(transparent)]
    Name(#[from] NameTooLong),
}

impl Ingress {
    /// Compiles the routes. What a route keeps on disk is in `store`; without one nothing is
    /// spooled.
    ///
    /// # Errors
    /// Paths that cannot stand side by side, and names that AMQP cannot carry.
    pub fn new(
        config: &Config,
        publisher: Publisher,
        replies: Replies,
        metrics: &Metrics,
        buffer: Buffer,
        store: Option<&Store>,
    ) -> Result<Self, IngressError> {
        let reply_queue = names::reply_queue(&config.amqp.instance);
        let mut routes = Vec::new();
        let mut drains = Drains {
            publisher: &publisher,
            metrics,
            buffer: &buffer,
            all: Vec::new(),
        };
        for route in &config.routes {
            let Some(inbound) = route.inbound() else {
                continue;
            };
            let outbox = store.and_then(|store| drains.add(store, route, inbound));
            let mut inlet = Inlet::new(route, inbound, &reply_queue, outbox, metrics)?;
            inlet.guard = store.and_then(|store| guard(store, route, inbound, &buffer));
            let source = inbound.source.clone();
            routes.push((source.method, source.path, Arc::new(inlet)));
        }
        if let Some(store) = store {
            drains.add_leftovers(store);
        }
        Ok(Self {
            drains: drains.all,
            router: ArcSwap::from_pointee(Router::new(routes)?),
            publisher,
            replies,
            buffer,
            unmatched: metrics.route(&"".into(), Side::Unmatched),
            http: config.http.clone(),
            limits: Limits {
                connections: config.http.connections,
                header_timeout: config.http.header_timeout,
                used: Some(metrics.limit("connections")),
            },
            tracker: TaskTracker::new(),
        })
    }

    /// What empties the spools, to be run beside [`Ingress::serve`]; there is nothing the second
    /// time.
    pub fn take_drains(&mut self) -> Vec<Drain> {
        std::mem::take(&mut self.drains)
    }

    /// Serves until `stop`, then answers what has begun; returns when all of it is done, or soon
    /// after `abort`. The number says how many requests were cut off.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
        abort: CancellationToken,
    ) -> usize {
        let tracker = self.tracker.clone();
        let limits = self.limits.clone();
        let cut = server::serve(listener, Arc::new(self), limits, stop, abort.clone()).await;
        tracker.close();
        tokio::select! {
            biased;
            () = tracker.wait() => {}
            () = abort.cancelled() => {}
        }
        cut
    }

    async fn answer(
        self: &Arc<Self>,
        found: Found<Inlet>,
        request: Box<Request<Incoming>>,
        arrived: Instant,
    ) -> Response {
        let inlet = &found.target;
        let (parts, mut body) = request.into_parts();
        let refused = |problem, body, begun| {
            let (version, headers) = (parts.version, &parts.headers);
            refuse(problem, version, headers, body, begun, &self.tracker)
        };
        let _place = match inlet.limits.enter(arrived) {
            Ok(place) => place,
            Err(problem) => return refused(problem, body, false),
        };
        let mut limits = BodyLimits {
            bytes: inlet.inbound.source.body_limit,
            deadline: arrived + self.http.body_timeout,
        };
        if let Answer::Reply(reply) = &inlet.inbound.answer {
            limits.deadline = limits.deadline.min(arrived + reply.timeout);
        }
        let bytes = match body::read(&mut body, limits, &self.buffer).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let begun = error.had_begun();
                return refused(error.problem(), body, begun);
            }
        };
        let received = Received {
            parts,
            parameters: found.parameters,
            body: bytes,
        };
        let (draft, identity) = match prepare(inlet, received) {
            Ok(prepared) => prepared,
            Err(problem) => return problem.into_response(),
        };
        let answered = match inlet.guard.as_ref().zip(identity) {
            Some((guard, identity)) => {
                idempotency::once(self, inlet, guard, identity, draft, arrived).await
            }
            None => self.flow(inlet, draft, arrived).await,
        };
        answered.unwrap_or_else(Problem::into_response)
    }

    /// Hands a message to the route's flow.
    async fn flow(
        self: &Arc<Self>,
        inlet: &Arc<Inlet>,
        draft: Box<Draft>,
        arrived: Instant,
    ) -> Result<Response, Problem> {
        match &inlet.inbound.answer {
            Answer::Accepted(settings) => accept::accept(self, inlet, settings, draft).await,
            Answer::Reply(settings) => {
                request_reply::request_reply(self, inlet, settings, draft, arrived).await
            }
        }
    }
}

/// Makes the message of a whole request, and says which of the repeated calls it is.
///
/// Nothing of the request is left but the body, which the message has: the head would stay in memory
/// for as long as the call is held.
fn prepare(inlet: &Inlet, received: Received) -> Result<(Box<Draft>, Option<Identity>), Problem> {
    let draft = Box::new(received.draft(inlet)?);
    let guard = inlet.guard.as_ref();
    let identity = guard.map(|guard| guard.identify(inlet, &received));
    let identity = identity.transpose()?.flatten();
    Ok((draft, identity))
}

/// Makes the drains of the routes.
struct Drains<'a> {
    publisher: &'a Publisher,
    metrics: &'a Metrics,
    buffer: &'a Buffer,
    all: Vec<Drain>,
}

impl Drains<'_> {
    /// The outbox of a route that has a spool.
    fn add(&mut self, store: &Store, route: &Route, inbound: &Inbound) -> Option<Arc<Outbox>> {
        let limits = inbound.spool.as_ref()?;
        let outbox = Outbox::new(store.spool(&route.name, limits));
        self.push(&route.name, &outbox, Settings::of(inbound));
        Some(Arc::new(outbox))
    }

    /// What routes have promised that have no spool any more, or another name, is kept too.
    fn add_leftovers(&mut self, store: &Store) {
        for (route, usage) in store.spooled() {
            // What was set apart may be returned to the line while the bridge runs.
            let nothing = usage.messages == 0 && usage.apart == 0;
            if nothing || self.all.iter().any(|drain| *drain.route() == route) {
                continue;
            }
            tracing::warn!(
                %route,
                messages = usage.messages,
                apart = usage.apart,
                "a route that has no spool any more left messages in the store; those in line are published"
            );
            let outbox = Outbox::new(store.spool(&route, &Settings::LEFTOVER_SPOOL));
            self.push(&route, &outbox, Settings::leftover());
        }
    }

    fn push(&mut self, name: &Arc<str>, outbox: &Outbox, settings: Settings) {
        self.all.push(Drain::new(
            name,
            outbox,
            settings,
            self.publisher.clone(),
            self.metrics.route(name, Side::Inbound),
            self.buffer.clone(),
        ));
    }
}

impl Handler for Ingress {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response {
        let arrived = Instant::now();
        let found = match host(&request) {
            Ok(()) => self.router.load().find(request.method(), request.uri()),
            Err(missed) => Err(missed),
        };
        match found {
            Ok(found) => {
                let call = Call::begin(&found.target, arrived);
                let response = self.answer(found, Box::new(request), arrived).await;
                call.answered(response.status());
                response
            }
            Err(missed) => {
                let (parts, body) = request.into_parts();
                let problem = missed.problem();
                let response = refuse(
                    problem,
                    parts.version,
                    &parts.headers,
                    body,
                    false,
                    &self.tracker,
                );
                call::count(&self.unmatched, arrived, response.status());
                response
            }
        }
    }
}

/// What recognises the repeated calls of a route.
fn guard(store: &Store, route: &Route, inbound: &Inbound, buffer: &Buffer) -> Option<Arc<Guard>> {
    let settings = inbound.idempotency.as_ref()?;
    let answers = store.answers(&route.name, settings);
    Some(Arc::new(Guard::new(settings, answers, buffer.clone())))
}

/// HTTP/1.1 wants exactly one `Host` (RFC 9112 §3.2): without it two parsers on the way may differ
/// about where a request goes.
fn host(request: &Request<Incoming>) -> Result<(), Missed> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    match (request.version(), first, second) {
        (_, _, Some(_)) => Err(Missed::BadHead("there is more than one `Host`")),
        (Version::HTTP_11, None, _) => Err(Missed::BadHead("there is no `Host`")),
        _ => Ok(()),
    }
}
