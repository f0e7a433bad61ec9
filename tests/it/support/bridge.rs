//! The bridge under test, as the process that users run.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use super::{Client, SOON, client::Reply, eventually, lifeline, must};

/// How a bridge differs from the usual one.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Instead of the rig's broker; several with commas between them.
    pub amqp_url: Option<String>,
    pub env: Vec<(String, String)>,
    pub arguments: Vec<String>,
    /// Instead of free ports: to take another bridge's.
    pub http_port: Option<u16>,
    pub admin_port: Option<u16>,
}

/// A running bridge; killed with the value.
#[derive(Debug)]
pub struct Bridge {
    http: SocketAddr,
    admin: SocketAddr,
    dir: PathBuf,
    files: [PathBuf; 2],
    process: Mutex<Child>,
    log: Arc<Mutex<String>>,
}

impl Bridge {
    pub(super) fn start(
        dir: &Path,
        amqp_url: &str,
        instance: &str,
        yaml: &str,
        options: &Options,
    ) -> Self {
        lifeline::guard_children();
        let http = local(options.http_port.unwrap_or_else(free_port));
        let admin = local(options.admin_port.unwrap_or_else(free_port));
        let amqp_url = options.amqp_url.as_deref().unwrap_or(amqp_url);
        let files = layers(dir, amqp_url, instance, [http, admin], yaml);
        let [base_file, file] = &files;
        let mut process = Command::new(env!("CARGO_BIN_EXE_hareway"))
            .arg("run")
            .arg("-c")
            .arg(base_file)
            .arg("-c")
            .arg(file)
            .args(&options.arguments)
            .envs(options.env.iter().cloned())
            .env(lifeline::MARK, &*lifeline::RUN)
            .current_dir(dir)
            // A group of its own: ctrl-C reaches the tests, not the bridge.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the bridge starts");
        let log = Arc::new(Mutex::new(String::new()));
        gather(process.stdout.take().expect("piped"), log.clone());
        gather(process.stderr.take().expect("piped"), log.clone());
        Self {
            http,
            admin,
            dir: dir.to_owned(),
            files,
            process: Mutex::new(process),
            log,
        }
    }

    pub fn http(&self) -> SocketAddr {
        self.http
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A client of its own connections.
    pub fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// What `hareway WORDS…` prints, with this bridge's configuration and in its folder.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn command(&self, words: &[&str]) -> String {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hareway"));
        command.args(words).current_dir(&self.dir);
        for file in &self.files {
            command.arg("-c").arg(file);
        }
        let output = command.output().await.expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Everything that it has said so far, on both streams.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until `/readyz` says yes.
    pub async fn ready(&self, limit: Duration) {
        let client = Client::new(self.admin);
        eventually(limit, "ready", async || {
            if let Some(status) = self.exited() {
                panic!("the bridge has ended: {status}\n{}", self.log());
            }
            let reply = client.get("/readyz").attempt().await?;
            match reply.status.as_u16() {
                200 => Ok(()),
                status => Err(format!("{status} {}", reply.text())),
            }
        })
        .await;
    }

    /// Waits until `/readyz` says no, and gives what it says.
    pub async fn not_ready(&self, limit: Duration) -> Reply {
        eventually(limit, "not ready", async || {
            let reply = self.admin_get("/readyz").await;
            match reply.status.as_u16() {
                503 => Ok(reply),
                status => Err(format!("{status} {}", reply.text())),
            }
        })
        .await
    }

    /// Waits until the connection that publishes is known to be lost. Readiness goes with the first
    /// of the two connections, and a publish at that moment may still be on its way.
    pub async fn cannot_publish(&self, limit: Duration) {
        eventually(limit, "the lost connection is noticed", async || {
            let log = self.log();
            let lost = r#""message":"broker connection lost","connection":"publish""#;
            must(log.contains(lost), || log)
        })
        .await;
    }

    pub async fn admin_get(&self, path: &str) -> Reply {
        Client::new(self.admin).get(path).send_plain().await
    }

    /// The sum over all series of this name with these labels; 0 where there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.admin_get("/metrics").await.expect(200).text();
        sum(&text, name, labels)
    }

    /// Waits until a metric has this value.
    pub async fn metric_is(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name} {labels:?} = {value}");
        eventually(SOON, &what, async || {
            let found = self.metric(name, labels).await;
            if (found - value).abs() < 1e-9 {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .await;
    }

    /// `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.process.lock().unwrap().id().to_string();
        // A builtin of every shell, so that no package has to bring it.
        let sent = Command::new("sh")
            .args(["-c", r#"kill -"$1" "$2""#, "kill", name, &pid])
            .status();
        assert!(sent.expect("sh starts").success(), "kill -{name} {pid}");
    }

    pub fn exited(&self) -> Option<ExitStatus> {
        self.process.lock().unwrap().try_wait().expect("a child")
    }

    /// Waits for its end.
    pub async fn exit(&self, limit: Duration) -> ExitStatus {
        eventually(limit, "the bridge's end", async || {
            self.exited().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        drop(process.kill());
        drop(process.wait());
        if std::thread::panicking() {
            eprintln!("--- the bridge on {} said:\n{}---", self.http, self.log());
        }
    }
}

/// Two layers: what every bridge here needs, and the test's own.
pub(super) fn layers(
    dir: &Path,
    amqp_url: &str,
    instance: &str,
    [http, admin]: [SocketAddr; 2],
    yaml: &str,
) -> [PathBuf; 2] {
    let urls = amqp_url.replace(',', "\", \"");
    let base = format!(
        "amqp: {{ urls: [\"{urls}\"], instance: {instance} }}\n\
         http: {{ listen: \"{http}\" }}\n\
         admin: {{ listen: \"{admin}\" }}\n"
    );
    let files = ["base.yaml", "yaml"].map(|end| dir.join(format!("{instance}.{end}")));
    for (file, text) in files.iter().zip([base.as_str(), yaml]) {
        std::fs::write(file, text).expect("a file");
    }
    files
}

fn gather(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

pub(super) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Below the range from which the kernel takes the ports of outgoing connections and of the
/// tests' own listeners, so that nobody takes it between here and the bridge's start.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::from_str_radix(&lifeline::RUN[..4], 16).expect("hex digits");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + start.wrapping_add(step) % 9_000;
        if TcpListener::bind(local(port)).is_ok() {
            return port;
        }
    }
}

fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    text.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (shown, value) = rest.rsplit_once(' ')?;
            let exact = shown.is_empty() || shown.starts_with('{');
            let all = labels.iter().all(|(key, value)| {
                let pair = format!("{key}=\"{value}\"");
                shown.contains(&format!("{{{pair}")) || shown.contains(&format!(",{pair}"))
            });
            (exact && all).then(|| value.parse::<f64>().ok())?
        })
        .sum()
}
