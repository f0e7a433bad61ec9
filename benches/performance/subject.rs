//! What is measured: the bridge, or a limit program, as a process of its own.

use std::{env, fmt::Write, fs, time::Duration};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::{Instant, sleep, timeout},
};

use crate::{
    limited::Job,
    load::PATH,
    measure::Round,
    model::{Flow, QUEUE, ROUTES, Subject},
    process::{Running, free_port},
};

const READY_LIMIT: Duration = Duration::from_secs(120);
const READY_PAUSE: Duration = Duration::from_millis(1);

/// A subject that runs.
pub(crate) struct Started {
    pub(crate) process: Running,
    /// Where it takes requests.
    pub(crate) port: u16,
    pub(crate) admin: u16,
    begin: Instant,
    subject: Subject,
}

/// Starts it; one that delivers needs nothing more.
pub(crate) fn begin(round: &Round<'_>, backend: u16) -> anyhow::Result<Started> {
    let subject = round.subject;
    let (port, admin) = (free_port()?, free_port()?);
    let command = if subject.is_bridge() {
        bridge(round, [port, admin], backend)?
    } else {
        let deliver = round.point.flow == Flow::Deliver;
        limit(round, if deliver { backend } else { port })?
    };
    let begin = Instant::now();
    Ok(Started {
        process: Running::start(command)?,
        port,
        admin,
        begin,
        subject,
    })
}

/// Starts it and waits until it takes requests.
pub(crate) async fn start(round: &Round<'_>, backend: u16) -> anyhow::Result<Started> {
    let mut started = begin(round, backend)?;
    started.ready().await?;
    Ok(started)
}

/// A limit program; `port` is its own or the backend's.
pub(crate) fn limit(round: &Round<'_>, port: u16) -> anyhow::Result<Command> {
    let job = Job {
        subject: round.subject,
        point: round.point.clone(),
        port,
        broker_pid: round.settings.broker_pid()?,
        timing: round.effort.timing,
        messages: round.effort.messages(round.point),
    };
    let mut command = Command::new(env::current_exe()?);
    command.arg("limit").arg(serde_json::to_string(&job)?);
    command.env("AMQP_URL", &round.settings.amqp_url);
    Ok(command)
}

fn bridge(round: &Round<'_>, ports: [u16; 2], backend: u16) -> anyhow::Result<Command> {
    let file = round.dir.join("hareway.yaml");
    fs::write(&file, configuration(round, ports, backend)?)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_hareway"));
    command.arg("run").arg("-c").arg(&file);
    command.current_dir(round.dir);
    command.env("AMQP_URL", &round.settings.amqp_url);
    Ok(command)
}

/// The bridge's configuration, as YAML.
pub(crate) fn configuration(
    round: &Round<'_>,
    [port, admin]: [u16; 2],
    backend: u16,
) -> anyhow::Result<String> {
    let holding = round.subject == Subject::Holding;
    let connections = if holding { 100_000 } else { 10_000 };
    let drain = if holding { "2m" } else { "30s" };
    let mut yaml = format!(
        "amqp: {{ url: '${{AMQP_URL}}', instance: {QUEUE} }}\n\
         http: {{ listen: '127.0.0.1:{port}', body_limit: 2MiB, connections: {connections} }}\n\
         admin: {{ listen: '127.0.0.1:{admin}' }}\n\
         store: {{ path: ./store }}\n\
         log: {{ level: error }}\n\
         drain_timeout: {drain}\n\
         queues: {{ {QUEUE}: {{}} }}\n\
         routes:\n  {QUEUE}: {}\n",
        route(round, backend)
    );
    if round.subject == Subject::ManyRoutes {
        for number in 1..ROUTES {
            let team = number % 100;
            writeln!(
                yaml,
                "  orders-{number}: {{ from: {{ http: 'POST /team-{team}/orders-{number}/{{id}}' }}, \
                 to: {{ amqp: {QUEUE} }} }}"
            )?;
        }
    }
    Ok(yaml)
}

fn route(round: &Round<'_>, backend: u16) -> String {
    let parameter = PATH.rsplit_once('/').map_or(PATH, |(front, _)| front);
    let from = format!("from: {{ http: 'POST {parameter}/{{id}}' }}");
    match (round.point.flow, round.subject) {
        (Flow::Accept, Subject::Spooling) => {
            format!("{{ {from}, to: {{ amqp: {QUEUE} }}, spool: {{ max_bytes: 100GiB }} }}")
        }
        (Flow::Accept, _) => format!("{{ {from}, to: {{ amqp: {QUEUE} }} }}"),
        (Flow::Deliver, _) => format!(
            "{{ from: {{ amqp: {{ queue: {QUEUE}, concurrency: {} }} }}, \
             to: {{ http: 'http://127.0.0.1:{backend}/' }} }}",
            round.point.connections
        ),
        (Flow::RequestReply, Subject::Holding) => format!(
            "{{ {from}, to: {{ amqp: {QUEUE} }}, reply: {{ timeout: 90s, waiting: 100000 }} }}"
        ),
        (Flow::RequestReply, _) => {
            format!("{{ {from}, to: {{ amqp: {QUEUE} }}, reply: {{ timeout: 10s }} }}")
        }
    }
}

// === impl Started ===

impl Started {
    /// Waits until it takes requests; gives the time since its start.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<Duration> {
        if self.subject.is_bridge() {
            self.until(self.admin, ready).await?;
        } else {
            self.until(self.port, listening).await?;
        }
        Ok(self.begin.elapsed())
    }

    async fn until(
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
            sleep(READY_PAUSE).await;
        }
    }

    /// The sum of a metric of the bridge over its labels.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let page = get(self.admin, "/metrics").await?;
        let of_it = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let values = page.lines().filter(of_it);
        let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Ends it. The bridge has to end as it promises; a limit program promises nothing.
    pub(crate) async fn end(self) -> anyhow::Result<bool> {
        if self.subject.is_bridge() {
            self.process.end().await
        } else {
            self.process.kill().await.map(|()| true)
        }
    }
}

async fn listening(port: u16) -> anyhow::Result<()> {
    TcpStream::connect(("127.0.0.1", port)).await?;
    Ok(())
}

async fn ready(admin: u16) -> anyhow::Result<()> {
    get(admin, "/readyz").await?;
    Ok(())
}

async fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    anyhow::ensure!(response.starts_with("HTTP/1.1 200"), "{path}: {response}");
    Ok(response)
}
