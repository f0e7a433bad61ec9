//! RabbitMQ nodes: the one that all tests share, and private ones for tests that harm theirs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    process::Command,
    sync::{OnceCell, Semaphore, SemaphorePermit},
};

use super::lifeline::Guard;

/// A node is up in about four seconds, and several may start at once on a small machine.
const VERB_LIMIT: Duration = Duration::from_secs(120);

/// A node costs 100 MiB and half a core while it starts.
static PRIVATE_NODES: Semaphore = Semaphore::const_new(2);

/// A node that this process started; it ends with the value, or with the process.
#[derive(Debug)]
pub struct Broker {
    dir: PathBuf,
    tls_dir: Option<PathBuf>,
    env: Vec<(&'static str, String)>,
    url: String,
    _guard: Guard,
    _permit: Option<SemaphorePermit<'static>>,
}

/// How to start a private node.
#[derive(Debug, Default)]
pub struct Setup {
    /// Further `rabbitmq.conf` lines.
    pub conf: String,
    /// A folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub tls_dir: Option<PathBuf>,
    /// What else the script is told: whose broker to run, and on which host.
    pub env: Vec<(&'static str, String)>,
}

/// The URL of the node that tests share: `AMQP_URL`, or a node started for this process.
///
/// # Panics
/// Where there is none: in full the first time, briefly after that.
pub async fn shared_url() -> String {
    static SHARED: OnceCell<Result<(String, Option<Broker>), ()>> = OnceCell::const_new();
    let shared = SHARED
        .get_or_init(|| async {
            if let Ok(url) = std::env::var("AMQP_URL")
                && !url.is_empty()
            {
                return match probe(&url).await {
                    Ok(()) => Ok((url, None)),
                    Err(error) => {
                        eprintln!(
                            "no broker answers at AMQP_URL: {error}\n\
                             unset it to have one started, or start one: \
                             eval \"$(scripts/broker up >/dev/null && scripts/broker env)\""
                        );
                        Err(())
                    }
                };
            }
            match Broker::start(Setup::default(), None).await {
                Ok(broker) => Ok((broker.url.clone(), Some(broker))),
                Err(error) => {
                    eprintln!(
                        "no RabbitMQ to test with: {error}\n\
                         install it: apt-get install --no-install-recommends rabbitmq-server"
                    );
                    Err(())
                }
            }
        })
        .await;
    match shared {
        Ok((url, _)) => url.clone(),
        Err(()) => panic!("no broker: the reason is printed once, by the first test that asked"),
    }
}

async fn probe(url: &str) -> Result<(), lapin::Error> {
    let connection =
        lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    connection.close(200, "probed".into()).await
}

// === impl Broker ===

impl Broker {
    /// A node for one test alone. At most two run at once; further tests wait here.
    pub async fn private() -> Self {
        Self::private_with(Setup::default()).await
    }

    pub async fn private_with(setup: Setup) -> Self {
        let permit = PRIVATE_NODES.acquire().await.expect("never closed");
        Self::start(setup, Some(permit))
            .await
            .unwrap_or_else(|error| panic!("a private node does not start: {error}"))
    }

    /// A node beyond those two: whoever starts it answers for how many there are.
    pub async fn further(setup: Setup) -> Self {
        Self::start(setup, None)
            .await
            .unwrap_or_else(|error| panic!("a further node does not start: {error}"))
    }

    async fn start(setup: Setup, permit: Option<SemaphorePermit<'static>>) -> Result<Self, String> {
        let dir = tempfile::Builder::new()
            .prefix("hareway-node-")
            .tempdir()
            .map_err(|error| error.to_string())?
            .keep();
        let script = script();
        let pairs = setup
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let arguments = [path_text(&script), path_text(&dir)]
            .into_iter()
            .chain(pairs)
            .collect::<Vec<_>>();
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let guard = Guard::new(
            r#"script=$1 dir=$2; shift 2
            for verb in kill down; do env HAREWAY_BROKER_DIR="$dir" "$@" "$script" $verb; done
            rm -rf "$dir""#,
            &arguments,
        );
        let mut broker = Self {
            dir,
            tls_dir: setup.tls_dir,
            env: setup.env,
            url: String::new(),
            _guard: guard,
            _permit: permit,
        };
        if !setup.conf.is_empty() {
            let extra = broker.dir.join("extra.conf");
            std::fs::write(&extra, &setup.conf).map_err(|error| error.to_string())?;
        }
        broker.url = broker.try_verb(&["up"]).await?;
        Ok(broker)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`, for a proxy in front.
    pub fn address(&self) -> String {
        address_of(&self.url)
    }

    /// The `amqps` URL of a node that was given certificates.
    pub async fn tls_url(&self) -> String {
        self.verb(&["url", "--tls"]).await
    }

    /// Ends it gracefully and starts it again, same port and data.
    pub async fn restart(&self) {
        self.verb(&["restart"]).await;
    }

    /// As a crash would.
    pub async fn kill(&self) {
        self.verb(&["kill"]).await;
    }

    /// Brings it back after [`Broker::kill`], on the same port and data.
    pub async fn start_again(&self) {
        self.verb(&["up"]).await;
    }

    /// `rabbitmqctl` on this node.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["ctl"];
        all.extend_from_slice(arguments);
        self.verb(&all).await
    }

    async fn verb(&self, arguments: &[&str]) -> String {
        self.try_verb(arguments)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_verb(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(script());
        command
            .args(arguments)
            .env("HAREWAY_BROKER_DIR", &self.dir)
            .env_remove("HAREWAY_BROKER_CONF")
            .env_remove("HAREWAY_BROKER_TLS_DIR")
            .env_remove("HAREWAY_BROKER_ROOT")
            .env_remove("HAREWAY_BROKER_HOST")
            .env_remove("HAREWAY_BROKER_COOKIE")
            .envs(self.env.iter().cloned())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let extra = self.dir.join("extra.conf");
        if extra.exists() {
            command.env("HAREWAY_BROKER_CONF", &extra);
        }
        if let Some(tls) = &self.tls_dir {
            command.env("HAREWAY_BROKER_TLS_DIR", tls);
        }
        let output = tokio::time::timeout(VERB_LIMIT, command.output())
            .await
            .map_err(|_| format!("scripts/broker {arguments:?} takes over {VERB_LIMIT:?}"))?
            .map_err(|error| format!("scripts/broker does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "scripts/broker {arguments:?}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn script() -> PathBuf {
    std::env::var_os("HAREWAY_BROKER_SCRIPT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/broker"),
        PathBuf::from,
    )
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

/// `HOST:PORT` of a broker URL.
pub fn address_of(url: &str) -> String {
    let uri: lapin::uri::AMQPUri = url.parse().expect("a broker URL");
    format!("{}:{}", uri.authority.host, uri.authority.port)
}

/// The same broker URL with another `HOST:PORT`.
pub fn with_address(url: &str, address: &str) -> String {
    url.replacen(&address_of(url), address, 1)
}
