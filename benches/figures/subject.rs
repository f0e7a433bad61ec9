//! What is measured: the bridge, or the limit program of the same flow, as a process of its own.

use std::{env, fs, path::Path, time::Duration};

use anyhow::Context;
use tokio::{
    net::TcpStream,
    process::Command,
    time::{Instant, sleep, timeout},
};

use crate::{
    CONNECTIONS, Settings,
    process::{Running, free_port},
};

/// The queue of every flow; what is made for it at the broker has this in its name too.
pub(crate) const QUEUE: &str = "hareway-figures";
const READY_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Accept,
    Deliver,
    RequestReply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Bridge,
    Limit,
}

/// A subject that runs.
pub(crate) struct Started {
    pub(crate) process: Running,
    /// Where it takes requests.
    pub(crate) port: u16,
    subject: Subject,
}

// === impl Flow ===

impl Flow {
    pub(crate) const ALL: [Self; 3] = [Self::Accept, Self::Deliver, Self::RequestReply];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Deliver => "deliver",
            Self::RequestReply => "request/reply",
        }
    }

    /// There is no limit program for request/reply.
    pub(crate) fn subjects(self) -> &'static [Subject] {
        match self {
            Self::Accept | Self::Deliver => &[Subject::Bridge, Subject::Limit],
            Self::RequestReply => &[Subject::Bridge],
        }
    }

    fn route(self, backend: u16) -> String {
        match self {
            Self::Accept => {
                format!("{{ from: {{ http: 'POST /' }}, to: {{ amqp: {QUEUE} }} }}")
            }
            Self::Deliver => format!(
                "{{ from: {{ amqp: {{ queue: {QUEUE}, concurrency: {CONNECTIONS} }} }}, \
                 to: {{ http: 'http://127.0.0.1:{backend}/' }} }}"
            ),
            Self::RequestReply => format!(
                "{{ from: {{ http: 'POST /' }}, to: {{ amqp: {QUEUE} }}, \
                 reply: {{ timeout: 10s }} }}"
            ),
        }
    }
}

// === impl Subject ===

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Limit => "limit",
        }
    }

    /// Starts it and waits until it takes requests; one that delivers begins at once.
    pub(crate) async fn start(
        self,
        flow: Flow,
        settings: &Settings,
        dir: &Path,
        backend: u16,
    ) -> anyhow::Result<Started> {
        let (port, admin) = (free_port()?, free_port()?);
        let mut command = match self {
            Self::Bridge => bridge(flow, dir, [port, admin], backend)?,
            Self::Limit => {
                let mut command = Command::new(env::current_exe()?);
                let port = if flow == Flow::Deliver { backend } else { port };
                command.args(["limit", flow.name(), &port.to_string()]);
                command
            }
        };
        command.env("AMQP_URL", &settings.amqp_url);
        let process = Running::start(command)?;
        let mut started = Started {
            process,
            port,
            subject: self,
        };
        match (flow, self) {
            (Flow::Deliver, _) => {}
            (_, Self::Bridge) => started.ready(admin, ready).await?,
            (_, Self::Limit) => started.ready(port, listening).await?,
        }
        Ok(started)
    }
}

fn bridge(
    flow: Flow,
    dir: &Path,
    [port, admin]: [u16; 2],
    backend: u16,
) -> anyhow::Result<Command> {
    let file = dir.join("hareway.yaml");
    let route = flow.route(backend);
    let yaml = format!(
        "amqp: {{ url: '${{AMQP_URL}}', instance: {QUEUE} }}\n\
         http: {{ listen: '127.0.0.1:{port}' }}\n\
         admin: {{ listen: '127.0.0.1:{admin}' }}\n\
         log: {{ level: warn }}\n\
         queues: {{ {QUEUE}: {{}} }}\n\
         routes:\n  {QUEUE}: {route}\n"
    );
    fs::write(&file, yaml)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_hareway"));
    command.arg("run").arg("-c").arg(&file).current_dir(dir);
    Ok(command)
}

// === impl Started ===

impl Started {
    async fn ready(
        &mut self,
        port: u16,
        probe: impl AsyncFn(u16) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            self.process.alive()?;
            let outcome = timeout(READY_LIMIT, probe(port)).await?;
            if outcome.is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return outcome.context("it does not become ready");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it. The bridge has to end as it promises; the limit program promises nothing.
    pub(crate) async fn end(self) -> anyhow::Result<bool> {
        match self.subject {
            Subject::Bridge => self.process.end().await,
            Subject::Limit => self.process.kill().await.map(|()| true),
        }
    }
}

async fn listening(port: u16) -> anyhow::Result<()> {
    TcpStream::connect(("127.0.0.1", port)).await?;
    Ok(())
}

async fn ready(admin: u16) -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(("127.0.0.1", admin)).await?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    anyhow::ensure!(response.starts_with("HTTP/1.1 200"), "{response}");
    Ok(())
}
