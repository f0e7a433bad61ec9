//! A limit program, in the process that was started for it. Those without HTTP drive and measure
//! themselves, and print their figures.

use serde::{Deserialize, Serialize};

use crate::{
    closed_loop::{self, Caller, Timing},
    limits,
    measure::{Cpu, figures},
    model::{Figures, Point, QUEUE, Subject},
    process,
};

/// What a limit program has to do; its only argument.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) subject: Subject,
    pub(crate) point: Point,
    /// Its own, or that of the backend.
    pub(crate) port: u16,
    pub(crate) broker_pid: Option<u32>,
    pub(crate) timing: Timing,
    pub(crate) messages: usize,
}

impl Job {
    pub(crate) async fn run(self, url: &str) -> anyhow::Result<()> {
        let Point {
            connections, body, ..
        } = self.point;
        match self.subject {
            Subject::Bridge | Subject::ManyRoutes | Subject::Spooling | Subject::Holding => {
                anyhow::bail!("the bridge is no limit program")
            }
            Subject::Http => limits::http::run(self.port).await,
            Subject::Accept => limits::accept::run(url, QUEUE, self.port).await,
            Subject::Naive => limits::naive::run(url, QUEUE, self.port).await,
            Subject::Deliver => {
                let backend = format!("http://127.0.0.1:{}/", self.port);
                limits::deliver::run(url, QUEUE, &backend, connections).await
            }
            Subject::Publish => {
                let publishing = limits::publish::Publishing::open(url, QUEUE, body).await?;
                let tasks = (0..connections).map(|_| publishing.task()).collect();
                print(&self.drive(tasks).await?)
            }
            Subject::Rpc => {
                let reply_to = reply_queue();
                let rpc = limits::rpc::Rpc::open(url, QUEUE, &reply_to, body).await?;
                let tasks = (0..connections).map(|_| rpc.task()).collect();
                print(&self.drive(tasks).await?)
            }
            Subject::Consume => print(&self.consume(url).await?),
        }
    }

    async fn drive(&self, tasks: Vec<impl Caller>) -> anyhow::Result<Figures> {
        let mut cpu = Cpu::of(std::process::id(), self.broker_pid);
        let answered = closed_loop::run(tasks, self.timing, || cpu.sample()).await?;
        let peak_mib = process::peak_rss_mib(std::process::id())?;
        Ok(figures(answered, self.timing.measured, &cpu, peak_mib))
    }

    async fn consume(&self, url: &str) -> anyhow::Result<Figures> {
        let mut cpu = Cpu::of(std::process::id(), self.broker_pid);
        cpu.sample()?;
        let took = limits::consume::run(url, QUEUE, self.messages).await?;
        cpu.sample()?;
        let [own, broker_cpu] = cpu.per_1000(self.messages);
        Ok(Figures {
            rate: self.messages as f64 / took.as_secs_f64(),
            latency: None,
            cpu: own.unwrap_or_default(),
            broker_cpu,
            peak_mib: process::peak_rss_mib(std::process::id())?,
            good: self.messages as u64,
            errors: crate::errors::Errors::default(),
        })
    }
}

/// Where bare RPC takes its replies; named as the bridge names its own.
pub(crate) fn reply_queue() -> String {
    format!("hareway.reply.{QUEUE}")
}

fn print(figures: &Figures) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
