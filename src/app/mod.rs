//! The whole bridge: the only place that knows every part.

mod state;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    task::{JoinError, JoinHandle, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    amqp::{self, Broker, Replies, Stages},
    buffer::Buffer,
    config::Config,
    egress::{Client, Forwarder},
    ingress::{Drain, Ingress},
    shutdown::Shutdown,
    store::{Store, StoreError},
    task,
    telemetry::{self, Metrics, Side},
};

use state::State;

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
    store: Option<Store>,
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
    /// Its file is as it was.
    #[error(transparent)]
    Store(#[from] StoreError),
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

// === impl App ===

impl App {
    /// Builds every part; nothing runs yet. Blocks for as long as opening the store takes.
    ///
    /// # Errors
    /// A store that cannot be used. Names and paths that a compiled configuration does not have, or a TLS client that cannot be
    /// set up.
    pub fn build(config: Config, listeners: Listeners) -> Result<Self, AppError> {
        let config = Arc::new(config);
        let metrics = Metrics::new()?;
        telemetry::limits::expose(&config, &metrics);
        let store = open_store(&config)?;
        let buffer = Buffer::new(config.buffer_limit);
        let mut broker = Broker::new(&config, &metrics);
        let publisher = broker.publisher();
        let ingress = Ingress::new(
            &config,
            publisher.clone(),
            broker.replies(),
            &metrics,
            buffer.clone(),
            store.as_ref(),
        )?;
        let delivers = || {
            let routes = config.routes.iter();
            routes.filter_map(|route| Some((route, route.deliver()?)))
        };
        let calls = delivers().map(|(_, deliver)| deliver.source.concurrency);
        let client = Client::new(calls.sum())?;
        let mut forwarders = Vec::new();
        for (route, deliver) in delivers() {
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
        let mut state = State::new(
            &config,
            broker.status(),
            publisher,
            buffer,
            store.as_ref(),
            &metrics,
        )?;
        let circuit = |forwarder: &Forwarder| Some((forwarder.route(), forwarder.circuit()?));
        state.circuits = forwarders.iter().filter_map(circuit).collect();
        Ok(Self {
            config,
            listeners,
            ingress,
            metrics,
            state,
            forwarders,
            broker,
            store,
        })
    }

    /// What it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs until `shutdown` asks for the end, then drains in stages.
    ///
    /// # Errors
    /// The broker's part cannot be started, and nothing was. A part has failed by a defect of its
    /// own; the rest has been drained.
    pub async fn run(self, shutdown: Shutdown) -> Result<Drained, AppError> {
        let Self {
            config,
            listeners,
            mut ingress,
            metrics,
            mut state,
            forwarders,
            broker,
            store,
        } = self;
        let tracker = TaskTracker::new();
        let replies = broker.replies();
        let mut running = Running {
            stages: broker.stages(),
            stop_accepting: CancellationToken::new(),
            abort: CancellationToken::new(),
            spools: JoinSet::new(),
        };
        // First of all: where this fails, nothing else has to be ended.
        let links = match broker.start(&config, &tracker) {
            Ok(links) => links,
            Err(error) => {
                close(store).await;
                return Err(error.into());
            }
        };
        state.draining = shutdown.graceful.clone();
        let admin = Admin::new(config.clone(), metrics, state, store.clone());
        let stop_admin = CancellationToken::new();
        let admin = admin.serve(listeners.admin, stop_admin.clone(), stop_admin.clone());
        task::spawn(&tracker, "admin listener", admin);
        if let Some(store) = &store {
            let sweep = store.clone().sweep_answers(stop_admin.clone());
            task::spawn(&tracker, "sweep answers", sweep);
        }
        running.start_spools(ingress.take_drains());
        let serving = ingress.serve(
            listeners.http,
            running.stop_accepting.clone(),
            running.abort.clone(),
        );
        let mut http = JoinSet::new();
        http.spawn(serving);
        let mut forwarding = JoinSet::new();
        for forwarder in forwarders {
            let drain = running.stages.consumers.clone();
            forwarding.spawn(forwarder.run(drain, running.abort.clone()));
        }
        let failed = tokio::select! {
            () = shutdown.graceful.cancelled() => None,
            () = shutdown.immediate.cancelled() => None,
            failure = failure(links, [&mut http, &mut forwarding], &mut running.spools) => Some(failure),
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
        // Last of all: until here something may have had to be kept.
        close(store).await;
        failed.map_or(Ok(drained), |(part, panic)| {
            Err(AppError::Failed(format!("{part}: {panic}")))
        })
    }
}

/// The handles by which a running bridge is brought to its end.
struct Running {
    stages: Stages,
    stop_accepting: CancellationToken,
    abort: CancellationToken,
    /// One task for each spool that is emptied.
    spools: JoinSet<()>,
}

impl Running {
    fn start_spools(&mut self, drains: Vec<Drain>) {
        for drain in drains {
            self.spools.spawn(drain.run(self.stop_accepting.clone()));
        }
    }

    /// Not ready (by the draining token) → stop accepting → cancel consumers → finish what is
    /// under way → requeue the rest → close the connections.
    async fn drain(
        mut self,
        config: &Config,
        shutdown: &Shutdown,
        mut http: JoinSet<usize>,
        mut forwarding: JoinSet<usize>,
        replies: &Replies,
    ) -> Drained {
        tracing::info!(limit = ?config.drain_timeout, waiting_replies = replies.waiting(), "draining");
        self.stop_accepting.cancel();
        self.stages.consumers.cancel();
        let mut requests_cut = 0;
        let mut deliveries_cut = 0;
        let finishing = async {
            join(&mut http, &mut requests_cut).await;
            join(&mut forwarding, &mut deliveries_cut).await;
            // What a spool has published is confirmed and removed; the rest is kept.
            while self.spools.join_next().await.is_some() {}
        };
        tokio::select! {
            () = finishing => {}
            () = tokio::time::sleep(config.drain_timeout) => {}
            () = shutdown.immediate.cancelled() => {}
        }
        self.abort.cancel();
        self.spools.abort_all();
        let ending = join(&mut http, &mut requests_cut);
        if tokio::time::timeout(ABORT_LIMIT, ending).await.is_err() {
            tracing::warn!("requests did not end in time");
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
            requests_cut,
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

/// The store, where a route needs one.
fn open_store(config: &Config) -> Result<Option<Store>, StoreError> {
    let needed = config
        .routes
        .iter()
        .filter_map(|route| route.inbound())
        .any(|inbound| inbound.spool.is_some() || inbound.idempotency.is_some());
    needed.then(|| Store::open(&config.store.path)).transpose()
}

async fn close(store: Option<Store>) {
    if let Some(store) = store
        && tokio::time::timeout(CLOSE_LIMIT, store.close())
            .await
            .is_err()
    {
        tracing::warn!("the store did not close in time; the next start will look it through");
    }
}

/// The first part that fails, and its panic. A part that is missing would be missed by nobody:
/// messages would be taken and go no further.
async fn failure(
    [publishing, consuming]: [JoinHandle<()>; 2],
    [http, forwarding]: [&mut JoinSet<usize>; 2],
    spools: &mut JoinSet<()>,
) -> (&'static str, JoinError) {
    let (part, panic) = tokio::select! {
        Err(panic) = publishing => ("publish connection", panic),
        Err(panic) = consuming => ("consume connection", panic),
        panic = panicked(http) => ("http listener", panic),
        panic = panicked(forwarding) => ("forwarding", panic),
        panic = panicked(spools) => ("emptying a spool", panic),
    };
    tracing::error!(part, %panic, "a part of the bridge failed; the rest ends");
    (part, panic)
}

/// The first panic among these tasks. Cancel safe.
async fn panicked<T: 'static>(tasks: &mut JoinSet<T>) -> JoinError {
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            return panic;
        }
    }
    std::future::pending().await
}

/// Waits for every task, and counts what they gave up.
async fn join(tasks: &mut JoinSet<usize>, cut: &mut usize) {
    while let Some(ended) = tasks.join_next().await {
        *cut += ended.unwrap_or_default();
    }
}
