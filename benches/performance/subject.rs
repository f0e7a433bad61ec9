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
    model::{Flow, Point, QUEUE, Subject},
    process::{Running, free_port},
};

const READY_LIMIT: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_millis(2);
/// Of the bridge with many routes.
const ROUTES: usize = 10_000;

/// A subject that runs.
pub(crate) struct Started {
    pub(crate) process: Running,
    /// Where it takes requests.
    pub(crate) port: u16,
    subject: Subject,
}

/// Starts it and waits until it takes requests; one that delivers begins at once.
pub(crate) async fn start(round: &Round<'_>, backend: u16) -> anyhow::Result<Started> {
    let subject = round.subject;
    let deliver = round.point.flow == Flow::Deliver;
    let (port, admin) = (free_port()?, free_port()?);
    let command = if subject.is_bridge() {
        bridge(round, [port, admin], backend)?
    } else {
        limit(round, if deliver { backend } else { port })?
    };
    let process = Running::start(command)?;
    let mut started = Started {
        process,
        port,
        subject,
    };
    match deliver {
        true => {}
        false if subject.is_bridge() => started.until(admin, ready).await?,
        false => started.until(port, listening).await?,
    }
    Ok(started)
}

/// A limit program; `port` is its own or the backend's.
pub(crate) fn limit(round: &Round<'_>, port: u16) -> anyhow::Result<Command> {
    let job = Job {
        subject: round.subject,
        point: round.point.clone(),
        port,
        broker_pid: round.settings.broker_pid,
        timing: round.effort.timing,
        messages: round.effort.messages(round.point),
    };
    let mut command = Command::new(env::current_exe()?);
    command.arg("limit").arg(serde_json::to_string(&job)?);
    command.env("AMQP_URL", &round.settings.amqp_url);
    Ok(command)
}

fn bridge(round: &Round<'_>, [port, admin]: [u16; 2], backend: u16) -> anyhow::Result<Command> {
    let file = round.dir.join("hareway.yaml");
    let mut yaml = format!(
        "amqp: {{ url: '${{AMQP_URL}}', instance: {QUEUE} }}\n\
         http: {{ listen: '127.0.0.1:{port}', body_limit: 2MiB }}\n\
         admin: {{ listen: '127.0.0.1:{admin}' }}\n\
         log: {{ level: warn }}\n\
         queues: {{ {QUEUE}: {{}} }}\n\
         routes:\n  {QUEUE}: {}\n",
        route(round.point, backend)
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
    fs::write(&file, yaml)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_hareway"));
    command.arg("run").arg("-c").arg(&file);
    command.current_dir(round.dir);
    command.env("AMQP_URL", &round.settings.amqp_url);
    Ok(command)
}

fn route(point: &Point, backend: u16) -> String {
    let parameter = PATH.rsplit_once('/').map_or(PATH, |(front, _)| front);
    match point.flow {
        Flow::Accept => {
            format!("{{ from: {{ http: 'POST {parameter}/{{id}}' }}, to: {{ amqp: {QUEUE} }} }}")
        }
        Flow::Deliver => format!(
            "{{ from: {{ amqp: {{ queue: {QUEUE}, concurrency: {} }} }}, \
             to: {{ http: 'http://127.0.0.1:{backend}/' }} }}",
            point.connections
        ),
        Flow::RequestReply => format!(
            "{{ from: {{ http: 'POST {parameter}/{{id}}' }}, to: {{ amqp: {QUEUE} }}, \
             reply: {{ timeout: 10s }} }}"
        ),
    }
}

// === impl Started ===

impl Started {
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
    let mut stream = TcpStream::connect(("127.0.0.1", admin)).await?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    anyhow::ensure!(response.starts_with("HTTP/1.1 200"), "{response}");
    Ok(())
}
