//! The whole bridge: the only place that knows every part.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, Admin},
    amqp::{self, Broker, Gate, NotReady, Publisher, Replies, Stages, Status},
    buffer::Buffer,
    config::{
        Config,
        model::{Flow, Route},
    },
    egress::{Client, Forwarder},
    ingress::Ingress,
    shutdown::Shutdown,
    task,
    telemetry::{self, Metrics, Side},
};

/// How long a part may take to end once it has been told to drop everything.
const ABORT_LIMIT: Duration = Duration::from_secs(5);
/// How long closing the connections may take after the last settlement.
const CLOSE_LIMIT: Duration = Duration::from_secs(8);

/// The sockets to serve on, bound before anything else begins.
#[derive(Debug)]
pub struct Listeners {
    pub http: TcpListener,
    pub admin: TcpListener,
}

/// A built bridge, not yet running.
pub struct App {
    config: Arc<Config>,
    listeners: Listeners,
    ingress: Ingress,
    metrics: Metrics,
    state: State,
    forwarders: Vec<Forwarder>,
    broker: Broker,
}

/// Why a bridge cannot be built from a valid configuration, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot define the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Client(#[from] crate::egress::ClientError),
    #[error(transparent)]
    Ingress(#[from] crate::ingress::IngressError),
    #[error(transparent)]
    Broker(#[from] amqp::Error),
    /// A defect in this program: ending, and being started again, beats running on without a part.
    #[error("a part of the bridge failed: {0}")]
    Failed(String),
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// HTTP requests that were cut off unanswered.
    pub requests_cut: usize,
    /// Deliveries that were still under way when the time was over; the broker has them again.
    pub deliveries_cut: usize,
}

/// What the admin listener asks.
struct State {
    status: Status,
    publisher: Publisher,
    buffer: Buffer,
    draining: CancellationToken,
    limits: [prometheus::Gauge; 2],
}

// === impl App ===

impl App {
    /// Builds every part; nothing runs yet.
    ///
    /// # Errors
    /// Names and paths that a compiled configuration does not have, or a TLS client that cannot be
    /// set up.
    pub fn build(config: Config, listeners: Listeners) -> Result<Self, AppError> {
        let config = Arc::new(config);
        let metrics = Metrics::new()?;
        telemetry::limits::expose(&config, &metrics);
        let buffer = Buffer::new(config.buffer_limit);
        let mut broker = Broker::new(&config, &metrics);
        let publisher = broker.publisher();
        let ingress = Ingress::new(
            &config,
            publisher.clone(),
            broker.replies(),
            &metrics,
            buffer.clone(),
            None,
        )?;
        let client = Client::new()?;
        let mut forwarders = Vec::new();
        for route in &config.routes {
            let Some(deliver) = route.deliver() else {
                continue;
            };
            let deliveries = broker.subscribe(&deliver.source.queue, deliver.source.prefetch)?;
            let metrics = metrics.route(&route.name, Side::Deliver);
            let (publisher, client) = (publisher.clone(), client.clone());
            forwarders.extend(Forwarder::new(
                route,
                deliveries,
                publisher,
                client,
                metrics,
                buffer.clone(),
            ));
        }
        let state = State {
            status: broker.status(),
            limits: [metrics.limit("in_flight"), metrics.limit("buffer")],
            publisher,
            buffer,
            draining: CancellationToken::new(),
        };
        Ok(Self {
            config,
            listeners,
            ingress,
            metrics,
            state,
            forwarders,
            broker,
        })
    }

    /// Runs until `shutdown` asks for the end, then drains in stages.
    ///
    /// # Errors
    /// A part has failed by a defect of its own; the rest has been drained.
    pub async fn run(self, shutdown: Shutdown) -> Result<Drained, AppError> {
        let Self {
            config,
            listeners,
            ingress,
            metrics,
            mut state,
            forwarders,
            broker,
        } = self;
        let tracker = TaskTracker::new();
        let replies = broker.replies();
        let running = Running {
            stages: broker.stages(),
            stop_accepting: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        state.draining = shutdown.graceful.clone();
        let admin = Admin::new(config.clone(), metrics, state);
        let stop_admin = CancellationToken::new();
        let admin = admin.serve(listeners.admin, stop_admin.clone(), stop_admin.clone());
        task::spawn(&tracker, "admin listener", admin);
        let serving = ingress.serve(
            listeners.http,
            running.stop_accepting.clone(),
            running.abort.clone(),
        );
        let http = task::spawn(&tracker, "http listener", serving);
        let mut forwarding = JoinSet::new();
        for forwarder in forwarders {
            let drain = running.stages.consumers.clone();
            forwarding.spawn(forwarder.run(drain, running.abort.clone()));
        }
        let [publishing, consuming] = broker.start(&config, &tracker)?;
        let failed = tokio::select! {
            () = shutdown.graceful.cancelled() => None,
            () = shutdown.immediate.cancelled() => None,
            Err(panic) = publishing => Some(panic),
            Err(panic) = consuming => Some(panic),
        };
        let drained = running
            .drain(&config, &shutdown, http, forwarding, &replies)
            .await;
        stop_admin.cancel();
        tracker.close();
        if tokio::time::timeout(CLOSE_LIMIT, tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("connections did not close in time");
        }
        failed.map_or(Ok(drained), |panic| {
            Err(AppError::Failed(panic.to_string()))
        })
    }
}

/// The handles by which a running bridge is brought to its end.
struct Running {
    stages: Stages,
    stop_accepting: CancellationToken,
    abort: CancellationToken,
}

impl Running {
    /// Not ready (by the draining token) → stop accepting → cancel consumers → finish what is
    /// under way → requeue the rest → close the connections.
    async fn drain(
        &self,
        config: &Config,
        shutdown: &Shutdown,
        mut http: tokio::task::JoinHandle<usize>,
        mut forwarding: JoinSet<usize>,
        replies: &Replies,
    ) -> Drained {
        tracing::info!(limit = ?config.drain_timeout, waiting_replies = replies.waiting(), "draining");
        self.stop_accepting.cancel();
        self.stages.consumers.cancel();
        let mut requests_cut = None;
        let mut deliveries_cut = 0;
        let finishing = async {
            requests_cut = (&mut http).await.ok();
            join(&mut forwarding, &mut deliveries_cut).await;
        };
        tokio::select! {
            () = finishing => {}
            () = tokio::time::sleep(config.drain_timeout) => {}
            () = shutdown.immediate.cancelled() => {}
        }
        self.abort.cancel();
        if requests_cut.is_none() {
            requests_cut = tokio::time::timeout(ABORT_LIMIT, http)
                .await
                .ok()
                .and_then(Result::ok);
        }
        let ending = join(&mut forwarding, &mut deliveries_cut);
        if tokio::time::timeout(ABORT_LIMIT, ending).await.is_err() {
            tracing::warn!("deliveries did not end in time; the broker requeues them");
        }
        self.stages.replies.cancel();
        // The last acknowledgements are on their way; without them the broker would deliver again.
        self.stages.settling.close();
        if tokio::time::timeout(ABORT_LIMIT, self.stages.settling.wait())
            .await
            .is_err()
        {
            tracing::warn!("the broker did not take the last acknowledgements in time");
        }
        self.stages.connections.cancel();
        let drained = Drained {
            requests_cut: requests_cut.unwrap_or_default(),
            deliveries_cut,
        };
        if drained == Drained::default() {
            tracing::info!("drained");
        } else {
            tracing::warn!(
                requests_cut = drained.requests_cut,
                deliveries_cut = drained.deliveries_cut,
                "ended before everything was finished"
            );
        }
        drained
    }
}

/// Waits for every forwarder, and counts the deliveries that they gave up.
async fn join(forwarding: &mut JoinSet<usize>, cut: &mut usize) {
    while let Some(ended) = forwarding.join_next().await {
        *cut += ended.unwrap_or_default();
    }
}

impl admin::State for State {
    fn readiness(&self) -> Vec<NotReady> {
        let draining = self.draining.is_cancelled().then(|| NotReady {
            part: "process".to_owned(),
            reason: "shutting down".to_owned(),
        });
        draining
            .into_iter()
            .chain(self.status.not_ready())
            .collect()
    }

    fn refresh(&self) {
        let [in_flight, buffer] = &self.limits;
        in_flight.set(self.publisher.used_ratio());
        buffer.set(self.buffer.used_ratio());
    }

    fn route_state(&self, route: &Route) -> String {
        match &route.flow {
            Flow::Inbound(_) => match self.publisher.gate() {
                Gate::Open => "accepting".to_owned(),
                Gate::Down => "refusing: the broker is not connected".to_owned(),
                Gate::Blocked => "refusing: the broker blocks publishers".to_owned(),
            },
            Flow::Deliver(deliver) => self
                .status
                .consumer_problem(&deliver.source.queue)
                .map_or_else(
                    || "consuming".to_owned(),
                    |why| format!("not consuming: {why}"),
                ),
        }
    }
}
