//! One test's own corner of a broker: names nobody else uses, removed at its end.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hareway::config::names;

use super::{
    Amqp, Bridge, Broker, Inside, SOON,
    bridge::{self, Options},
    broker, eventually,
    lifeline::RUN,
};

/// Stands in configurations for the test's own prefix.
const PLACEHOLDER: &str = "PFX";

/// Longest time for the clean-up, which must not hide how the test ended.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(20);

/// Make it first: values are dropped in reverse, and the bridge must end before the clean-up.
#[derive(Debug)]
pub struct Rig {
    url: String,
    prefix: String,
    dir: tempfile::TempDir,
    amqp: Amqp,
    /// Every name that this test has used; `None` where the node ends with the test.
    names: Option<Mutex<BTreeSet<String>>>,
    delays: Mutex<BTreeSet<Duration>>,
    bridges: AtomicUsize,
}

impl Rig {
    /// On the broker that all tests share.
    pub async fn new() -> Self {
        let url = broker::shared_url().await;
        Self::build(url, Some(Mutex::default())).await
    }

    /// On a node of the test's own.
    pub async fn on(broker: &Broker) -> Self {
        Self::build(broker.url().to_owned(), None).await
    }

    /// On a node that others use after it.
    pub async fn at(url: &str) -> Self {
        Self::build(url.to_owned(), Some(Mutex::default())).await
    }

    async fn build(url: String, names: Option<Mutex<BTreeSet<String>>>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("it{}-{number}", &RUN[..8]);
        let delays = ["1s", "10s", "1m", "10m"].map(|text| parse(text).expect("a duration"));
        Self {
            amqp: Amqp::connect(&url).await,
            url,
            prefix,
            dir: tempfile::tempdir().expect("a folder"),
            names,
            delays: Mutex::new(delays.into()),
            bridges: AtomicUsize::new(0),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn amqp(&self) -> &Amqp {
        &self.amqp
    }

    /// A new connection, after the node has been away.
    pub async fn reconnect(&mut self) {
        let url = self.url.clone();
        self.amqp = Amqp::connect(&url).await;
    }

    /// A folder of the test's own.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The full name behind `PFX-NAME`.
    pub fn name(&self, name: &str) -> String {
        let full = format!("{}-{name}", self.prefix);
        self.note(&full);
        full
    }

    /// `text` with the prefix in place.
    pub fn fill(&self, text: &str) -> String {
        let text = text.replace(PLACEHOLDER, &self.prefix);
        self.note(&text);
        text
    }

    /// A declared, empty, durable classic queue.
    pub async fn queue(&self, name: &str) -> String {
        let full = self.name(name);
        self.amqp.queue(&full, &[]).await;
        full
    }

    /// A bridge as a process of its own, ready. `PFX` in the YAML is the test's prefix.
    pub async fn bridge(&self, yaml: &str) -> Bridge {
        self.bridge_with(yaml, Options::default()).await
    }

    pub async fn bridge_with(&self, yaml: &str, options: Options) -> Bridge {
        let bridge = self.start_with(yaml, options);
        bridge.ready(Duration::from_secs(30)).await;
        bridge
    }

    /// A bridge that may not become ready.
    pub fn start_with(&self, yaml: &str, options: Options) -> Bridge {
        let number = self.bridges.fetch_add(1, Ordering::Relaxed);
        let instance = self.name(&format!("i{number}"));
        let yaml = self.fill(yaml);
        Bridge::start(self.dir.path(), &self.url, &instance, &yaml, &options)
    }

    /// A bridge as a part of this process, ready.
    pub async fn inside(&self, yaml: &str) -> Inside {
        let number = self.bridges.fetch_add(1, Ordering::Relaxed);
        let instance = self.name(&format!("i{number}"));
        let yaml = self.fill(yaml);
        // The listeners are handed over; the addresses in the files are not used.
        let unused = [bridge::local(0); 2];
        let files = bridge::layers(self.dir.path(), &self.url, &instance, unused, &yaml);
        Inside::start(files.into()).await
    }

    /// Waits until `queue` holds exactly `messages`.
    pub async fn settles_at(&self, queue: &str, messages: u32) {
        let what = format!("{messages} messages in {queue}");
        eventually(SOON, &what, async || match self.amqp.counts(queue).await {
            Some(counts) if counts.messages == messages => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Waits until `queue` has exactly `consumers`.
    pub async fn consumed_by(&self, queue: &str, consumers: u32) {
        let what = format!("{consumers} consumers on {queue}");
        eventually(SOON, &what, async || match self.amqp.counts(queue).await {
            Some(counts) if counts.consumers == consumers => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Remembers the names and delays in `text`, to know what may have been made at the broker.
    fn note(&self, text: &str) {
        let Some(names) = &self.names else { return };
        let word = |c: char| !(c.is_ascii_alphanumeric() || "-._".contains(c));
        for word in text.split(word) {
            if word.starts_with(&self.prefix) {
                names.lock().unwrap().insert(word.to_owned());
            } else if let Some(delay) = parse(word) {
                self.delays.lock().unwrap().insert(delay);
            }
        }
    }

    fn left_behind(&self) -> Vec<String> {
        let Some(names) = &self.names else {
            return Vec::new();
        };
        let names = names.lock().unwrap();
        let mut all = Vec::new();
        for name in names.iter() {
            all.push(name.clone());
            all.push(names::reply_queue(name));
            for route in [name.clone(), format!("{name}.deliver")] {
                all.push(names::parked_queue(&route));
                for delay in self.delays.lock().unwrap().iter() {
                    all.push(names::retry_queue(&route, *delay));
                }
            }
        }
        all
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let names = self.left_behind();
        if names.is_empty() {
            return;
        }
        let url = self.url.clone();
        // A thread of its own: the test's runtime may be on its way out.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let cleaned = runtime.block_on(async {
                tokio::time::timeout(CLEAN_UP_LIMIT, clean_up(&url, &names)).await
            });
            match cleaned {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("not cleaned up: {error}"),
                Err(_) => eprintln!("not cleaned up within {CLEAN_UP_LIMIT:?}"),
            }
        });
        drop(cleaning.join());
    }
}

/// Deleting what is not there is no error in RabbitMQ.
async fn clean_up(url: &str, names: &[String]) -> lapin::Result<()> {
    let connection =
        lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for name in names {
        channel
            .queue_delete(name.as_str().into(), Default::default())
            .await?;
        if !name.starts_with("hareway.") {
            channel
                .exchange_delete(name.as_str().into(), Default::default())
                .await?;
        }
    }
    connection.close(200, "cleaned up".into()).await
}

fn parse(text: &str) -> Option<Duration> {
    text.starts_with(|c: char| c.is_ascii_digit())
        .then(|| humantime::parse_duration(text).ok())?
}
