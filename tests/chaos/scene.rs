//! One round's stage: a bridge with three routes, its backend, its worker, its clients.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hareway::config::names;
use tokio::time::Instant;

use crate::{
    arena::Stage,
    backend::Backend,
    disk::Tmpfs,
    ledger::{Answer, Flow, Ledger, Place},
    support::{
        Amqp, Bridge, Proxy, Rig,
        bridge::{Options, free_port},
        broker::with_address,
        must,
    },
    tally::Tally,
    traffic::{Crowd, Traffic},
    worker::Worker,
};

/// For whatever the bridge does by itself, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How a scene differs from the usual one.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Further settings of `amqp`.
    pub amqp: &'static str,
    /// Further parts of the file.
    pub top: &'static str,
    /// Arguments of the work queue.
    pub work_arguments: &'static str,
    /// Further lines of the accept route.
    pub take: &'static str,
    /// Further lines of the deliver route.
    pub forward: &'static str,
    /// How long the backend may take.
    pub backend_timeout: &'static str,
    pub reply_timeout: &'static str,
    /// Between bridge and broker.
    pub proxied: bool,
    /// Instead of the stage's broker: those of a cluster, all of which are there at the end.
    pub brokers: Vec<String>,
    /// The store is on a disk of its own, of this size.
    pub store: Option<&'static str>,
    pub crowd: Crowd,
}

/// Everything of one round. The rig is dropped last, since it removes what the others use.
#[derive(Debug)]
pub struct Scene {
    pub ledger: Arc<Ledger>,
    pub backend: Backend,
    pub worker: Worker,
    pub traffic: Traffic,
    bridge: Mutex<Arc<Bridge>>,
    options: Options,
    yaml: String,
    proxy: Option<Proxy>,
    pub store: Option<Tmpfs>,
    pub rig: Rig,
}

// === impl Plan ===

impl Default for Plan {
    fn default() -> Self {
        Self {
            amqp: "",
            top: "",
            work_arguments: "{}",
            take: "",
            forward: "",
            backend_timeout: "20s",
            reply_timeout: "10s",
            proxied: false,
            brokers: Vec::new(),
            store: None,
            crowd: Crowd::default(),
        }
    }
}

impl Plan {
    fn yaml(&self, backend: &Backend) -> String {
        let Self {
            amqp,
            top,
            work_arguments,
            take,
            forward,
            backend_timeout,
            reply_timeout,
            ..
        } = self;
        let url = backend.url();
        format!(
            r#"
amqp: {{ reconnect_max: 1s, heartbeat: 2s, {amqp} }}
{top}
exchanges:
  PFX-x: {{ type: direct }}
queues:
  PFX-work: {{ bind: {{ PFX-x: work }}, arguments: {work_arguments} }}
  PFX-ask: {{}}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: {{ exchange: PFX-x, routing_key: work, confirm_timeout: 5s }} }}
    {take}
  PFX-fwd:
    from: {{ amqp: {{ queue: PFX-work }} }}
    to: {{ http: {{ url: "{url}", timeout: {backend_timeout} }} }}
    retry: {{ delays: [200ms, 1s], for: 10m }}
    {forward}
  PFX-call:
    from: {{ http: "POST /call" }}
    to: {{ amqp: PFX-ask }}
    reply: {{ timeout: {reply_timeout} }}
"#
        )
    }
}

// === impl Scene ===

impl Scene {
    /// Ready, and under traffic.
    pub async fn open(stage: &Stage, plan: Plan) -> Self {
        let brokers = match plan.brokers.as_slice() {
            [] => vec![stage.broker.url().to_owned()],
            several => several.to_vec(),
        };
        let rig = Rig::at(&brokers[0]).await;
        let store = plan
            .store
            .map(|size| Tmpfs::mount(rig.dir().join("data"), size));
        let ledger = Arc::new(Ledger::default());
        let backend = Backend::start(ledger.clone()).await;
        let mut options = Options {
            http_port: Some(free_port()),
            admin_port: Some(free_port()),
            // The same name after a restart, as a container's would be.
            arguments: vec![
                "--set".to_owned(),
                format!("amqp.instance={}", rig.name("bridge")),
            ],
            amqp_url: Some(brokers.join(",")),
            ..Options::default()
        };
        let proxy = if plan.proxied {
            let proxy = Proxy::start(&stage.broker.address()).await;
            options.amqp_url = Some(with_address(rig.url(), &proxy.address()));
            Some(proxy)
        } else {
            None
        };
        let yaml = plan.yaml(&backend);
        let bridge = rig.start_with(&yaml, options.clone());
        bridge.ready(PATIENCE).await;
        let worker = Worker::start(brokers, &rig.name("ask"), ledger.clone());
        let traffic = Traffic::start(bridge.http(), &ledger, plan.crowd, stage.seed);
        let scene = Self {
            ledger,
            backend,
            worker,
            traffic,
            bridge: Mutex::new(Arc::new(bridge)),
            options,
            yaml,
            proxy,
            store,
            rig,
        };
        scene.flows("at first").await;
        scene
    }

    pub fn bridge(&self) -> Arc<Bridge> {
        self.bridge.lock().unwrap().clone()
    }

    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("planned with a proxy")
    }

    /// SIGKILL, and the same bridge again on the same ports.
    pub async fn kill_bridge(&self) {
        let bridge = self.bridge();
        bridge.signal("KILL");
        bridge.exit(PATIENCE).await;
    }

    pub fn start_bridge(&self) {
        let bridge = self.rig.start_with(&self.yaml, self.options.clone());
        *self.bridge.lock().unwrap() = Arc::new(bridge);
    }

    /// Every flow has had further successes since now, and the bridge says that it is ready.
    pub async fn flows(&self, when: &str) {
        self.bridge().ready(PATIENCE).await;
        let marks = [Flow::Accept, Flow::Call].map(|flow| (flow, self.ledger.successes(flow)));
        let reached = self.ledger.reached();
        self.until(&format!("all flows {when}"), async || {
            for (flow, before) in marks {
                let now = self.ledger.successes(flow);
                must(now >= before + 10, || {
                    format!("{flow:?}: {before}, then {now}")
                })?;
            }
            let now = self.ledger.reached();
            must(now >= reached + 10, || {
                format!("delivered: {reached}, then {now}")
            })
        })
        .await;
    }

    /// The backend's successes and the callers' answers show that the fault has been felt.
    pub async fn refusals(&self, what: &str) {
        let refused = |answer| matches!(answer, Answer::Refused(_));
        let before = self.ledger.count(Flow::Accept, refused);
        self.until(what, async || {
            let now = self.ledger.count(Flow::Accept, refused);
            must(now > before, || "everything is accepted".to_owned())
        })
        .await;
    }

    /// This many more have been taken into the spool.
    pub async fn spooled(&self, more: usize) {
        let spooled = |answer| answer == Answer::Spooled;
        let before = self.ledger.count(Flow::Accept, spooled);
        self.until("spooled", async || {
            let now = self.ledger.count(Flow::Accept, spooled);
            must(now >= before + more, || format!("{before}, then {now}"))
        })
        .await;
    }

    /// Nothing is under way, and nothing new is accepted until the traffic goes on.
    pub async fn rest(&self) {
        self.traffic.rest();
        self.until("rest", async || {
            let missing = self.ledger.underway().len() + self.ledger.unanswered(Flow::Accept);
            must(missing == 0, || format!("{missing} under way"))
        })
        .await;
    }

    /// Waits for something that must come by itself; where it does not, the bridge's log is shown.
    pub async fn until<F>(&self, what: &str, mut ask: F)
    where
        F: AsyncFnMut() -> Result<(), String>,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask().await {
                Ok(()) => return,
                Err(refusal) if Instant::now() >= deadline => {
                    let log = self.bridge().log();
                    let end = log.len().saturating_sub(6_000);
                    let end = (end..=log.len()).find(|at| log.is_char_boundary(*at));
                    eprintln!(
                        "--- the bridge said at last:\n{}---",
                        &log[end.unwrap_or(0)..]
                    );
                    panic!("{what}: not within {PATIENCE:?}; at last: {refusal}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Ends the traffic, waits until everything has arrived, ends the bridge, and counts.
    pub async fn close(self) -> Tally {
        let Self {
            ledger,
            traffic,
            bridge,
            rig,
            // These end with this function, not before the last message has gone by.
            backend: _backend,
            worker: _worker,
            proxy: _proxy,
            // Before the folder that it is in.
            store: _store,
            ..
        } = self;
        let closed = traffic.stop().await;
        let bridge = bridge.into_inner().unwrap();
        let amqp = Amqp::connect(rig.url()).await;
        if let Err(error) = settled(&ledger, &amqp, &rig).await {
            ledger.broken(error);
        }
        if bridge.exited().is_none() {
            end(&ledger, &bridge).await;
        }
        count_queues(&ledger, &amqp, &rig).await;
        ledger.tally(closed)
    }
}

/// The queues in which a message may still be: the work queue, and those of its retries.
fn queues(rig: &Rig) -> Vec<String> {
    let route = rig.name("fwd");
    let delays = [200, 1_000].map(Duration::from_millis);
    let mut all = vec![rig.name("work")];
    all.extend(delays.map(|delay| names::retry_queue(&route, delay)));
    all
}

async fn held(amqp: &Amqp, queue: &str) -> usize {
    let counts = amqp.counts(queue).await;
    counts.map_or(0, |counts| counts.messages as usize)
}

/// Everything accepted is at the backend or parked, and nothing waits.
async fn settled(ledger: &Ledger, amqp: &Amqp, rig: &Rig) -> Result<(), String> {
    let parked = names::parked_queue(&rig.name("fwd"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let missing = ledger.underway();
        let mut waiting = 0;
        for queue in queues(rig) {
            waiting += held(amqp, &queue).await;
        }
        if waiting == 0 && missing.len() <= held(amqp, &parked).await {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let shown = &missing[..missing.len().min(5)];
            return Err(format!(
                "after {PATIENCE:?} {} have not arrived ({shown:?}), {waiting} wait in queues",
                missing.len()
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A shutdown at rest: no call is held, and the process ends with 0.
async fn end(ledger: &Ledger, bridge: &Bridge) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = bridge.metric("hareway_waiting_replies", &[]).await;
        if held == 0.0 {
            break;
        }
        if Instant::now() >= deadline {
            ledger.broken(format!("{held} calls are held for ever"));
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bridge.signal("TERM");
    let status = bridge.exit(PATIENCE).await;
    if status.code() != Some(0) {
        ledger.broken(format!("the bridge ended with {status}"));
    }
}

async fn count_queues(ledger: &Ledger, amqp: &Amqp, rig: &Rig) {
    for queue in queues(rig) {
        if amqp.counts(&queue).await.is_some() {
            for got in amqp.drain(&queue).await {
                ledger.found(Place::Queue, &got);
            }
        }
    }
    let parked = names::parked_queue(&rig.name("fwd"));
    if amqp.counts(&parked).await.is_some() {
        for got in amqp.drain(&parked).await {
            ledger.found(Place::Parked, &got);
        }
    }
}
