//! One round of one subject at one point.

use std::{path::Path, time::Duration};

use anyhow::Context;

use crate::{
    backend::Backend,
    broker::{Broker, Worker},
    closed_loop::{self, Answered},
    errors::Errors,
    limited::reply_queue,
    limits::lanes::Lanes,
    load,
    model::{Figures, Flow, Point, QUEUE, Subject},
    process,
    settings::{Effort, Settings},
    step::Step,
    subject::{self, Started},
};

pub(crate) const DELIVER_LIMIT: Duration = Duration::from_secs(120);

/// What to measure once.
pub(crate) struct Round<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) effort: Effort,
    pub(crate) point: &'a Point,
    pub(crate) subject: Subject,
    /// For what the bridge keeps.
    pub(crate) dir: &'a Path,
}

/// CPU seconds of the subject and the broker at some moments.
pub(crate) struct Cpu {
    pids: [Option<u32>; 2],
    samples: Vec<[Option<f64>; 2]>,
}

// === impl Round ===

impl Round<'_> {
    /// Measures on a queue of its own.
    pub(crate) async fn measure(&self) -> anyhow::Result<Figures> {
        let broker = Broker::connect(&self.settings.amqp_url).await?;
        broker.queue(QUEUE, &self.point.queue_type).await?;
        if let Some(node) = &self.settings.node {
            node.calm().await?;
        }
        let figures = match self.subject {
            Subject::Publish | Subject::Rpc | Subject::Consume => {
                self.driven_by_itself(&broker).await
            }
            _ if self.point.flow == Flow::Deliver => self.delivered(&broker).await,
            _ => self.answered(&broker).await,
        };
        clean(&broker).await?;
        figures
    }

    /// A load, and what it has for answers.
    async fn answered(&self, broker: &Broker) -> anyhow::Result<Figures> {
        let Self { effort, point, .. } = self;
        let started = subject::start(self, 0).await?;
        let worker = match point.flow {
            Flow::RequestReply => Some(Worker::start(&self.settings.amqp_url, QUEUE).await?),
            Flow::Accept | Flow::Deliver => None,
        };
        let status = if worker.is_some() { 200 } else { 202 };
        let connections = usize::from(point.connections);
        let callers = load::open(connections, started.port, status, point.body).await?;
        let mut cpu = Cpu::of(started.process.pid, self.settings.broker_pid()?);
        let answered = closed_loop::run(callers, effort.timing, || cpu.sample()).await?;
        let peak_mib = process::peak_rss_mib(started.process.pid)?;
        let mut figures = figures(answered, effort.timing.measured, &cpu, peak_mib);
        ended_well(started, &mut figures.errors).await?;
        if point.flow == Flow::Accept && self.subject != Subject::Http {
            stored(broker, &mut figures).await?;
        }
        Ok(figures)
    }

    /// A program that makes its own load, and says what came of it.
    async fn driven_by_itself(&self, broker: &Broker) -> anyhow::Result<Figures> {
        let Self { point, subject, .. } = self;
        let worker = match subject {
            Subject::Rpc => Some(Worker::start(&self.settings.amqp_url, QUEUE).await?),
            _ => None,
        };
        if *subject == Subject::Consume {
            let count = self.effort.messages(point);
            broker.fill(QUEUE, count, &vec![b'x'; point.body]).await?;
        }
        let command = subject::limit(self, 0)?;
        let mut figures: Figures = process::json_of(command).await?;
        drop(worker);
        if *subject == Subject::Publish {
            stored(broker, &mut figures).await?;
        }
        Ok(figures)
    }

    /// A full queue, and the time until the backend has it all. Then messages that find it empty,
    /// each followed by the next when it has been delivered: they are for the latency.
    async fn delivered(&self, broker: &Broker) -> anyhow::Result<Figures> {
        let Self { effort, point, .. } = self;
        let count = effort.messages(point);
        let body = vec![b'x'; point.body];
        broker.fill(QUEUE, count, &body).await?;
        let mut backend = Backend::start(count, point.body).await?;
        let started = subject::begin(self, backend.port)?;
        let mut cpu = Cpu::of(started.process.pid, self.settings.broker_pid()?);
        cpu.sample()?;
        let took = backend.complete(DELIVER_LIMIT).await?;
        cpu.sample()?;
        let lanes = Lanes::open(&broker.connection, QUEUE).await?;
        let step = |_| Step {
            publisher: lanes.publisher(),
            arrivals: backend.arrivals(),
            body: body.clone().into(),
        };
        let steps = (0..point.connections).map(step).collect();
        let single = closed_loop::run(steps, effort.timing.half(), || Ok(())).await?;
        let peak_mib = process::peak_rss_mib(started.process.pid)?;
        let latency = single.latency();
        let mut errors = single.errors;
        errors.merge(backend.errors());
        ended_well(started, &mut errors).await?;
        if self.subject.is_bridge() {
            let left = broker.settled(QUEUE, |left| left == 0).await?;
            errors.add(left, || format!("{left} delivered and not acknowledged"));
        }
        let [own, broker_cpu] = cpu.per_1000(count);
        Ok(Figures {
            rate: count as f64 / took.as_secs_f64(),
            latency,
            cpu: own.unwrap_or_default(),
            broker_cpu,
            peak_mib,
            good: count as u64 + single.good,
            errors,
        })
    }
}

/// Deletes what a bridge with the route of a flow makes at the broker, and the queue.
pub(crate) async fn clean(broker: &Broker) -> anyhow::Result<()> {
    let mut names = vec![QUEUE.to_owned(), format!("hareway.parked.{QUEUE}")];
    let delays = ["1s", "10s", "1m", "10m"];
    names.extend(delays.map(|delay| format!("hareway.retry.{QUEUE}.{delay}")));
    names.push(reply_queue());
    for name in names {
        broker.delete(&name).await?;
    }
    Ok(())
}

/// The figures of a closed loop.
pub(crate) fn figures(answered: Answered, measured: Duration, cpu: &Cpu, peak_mib: f64) -> Figures {
    let count = answered.latencies.len();
    let [own, broker_cpu] = cpu.per_1000(count);
    Figures {
        rate: count as f64 / measured.as_secs_f64(),
        latency: answered.latency(),
        cpu: own.unwrap_or_default(),
        broker_cpu,
        peak_mib,
        good: answered.good,
        errors: answered.errors,
    }
}

/// Whatever was confirmed has to be in the queue.
pub(crate) async fn stored(broker: &Broker, figures: &mut Figures) -> anyhow::Result<()> {
    let good = figures.good;
    let found = broker.settled(QUEUE, |found| found >= good).await?;
    figures.errors.add(good.saturating_sub(found), || {
        format!("{good} were accepted, {found} are in the queue")
    });
    Ok(())
}

pub(crate) async fn ended_well(started: Started, errors: &mut Errors) -> anyhow::Result<()> {
    let well = started.end().await.context("cannot end it")?;
    errors.add(u64::from(!well), || "it did not end in order".to_owned());
    Ok(())
}

// === impl Cpu ===

impl Cpu {
    pub(crate) fn of(subject: u32, broker: Option<u32>) -> Self {
        Self {
            pids: [Some(subject), broker],
            samples: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self) -> anyhow::Result<()> {
        let mut now = [None; 2];
        for (seconds, pid) in now.iter_mut().zip(self.pids) {
            *seconds = pid.map(process::cpu_seconds).transpose()?;
        }
        self.samples.push(now);
        Ok(())
    }

    /// Of the subject and of the broker, between the first sample and the last.
    pub(crate) fn per_1000(&self, count: usize) -> [Option<f64>; 2] {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return [None; 2];
        };
        [0, 1].map(|which| {
            let (from, to) = (first.get(which)?, last.get(which)?);
            Some((to.as_ref()? - from.as_ref()?) * 1000.0 / count.max(1) as f64)
        })
    }
}
