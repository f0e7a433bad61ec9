//! One round of one flow with one subject.

use std::{path::Path, time::Duration};

use crate::{
    BODY, CONNECTIONS, Settings,
    backend::Backend,
    broker::{Broker, Worker},
    errors::Errors,
    load::Load,
    process,
    subject::{Flow, QUEUE, Started, Subject},
};

const WARM_UP: Duration = Duration::from_secs(1);
const DELIVER_LIMIT: Duration = Duration::from_secs(90);

/// What one round says.
#[derive(Clone)]
pub(crate) struct Figures {
    /// Requests or messages a second.
    pub(crate) rate: f64,
    /// Not for deliver, where a message's time is that of the messages before it.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// CPU seconds per 1,000 requests or messages: the subject's and the broker's.
    pub(crate) cpu: f64,
    pub(crate) broker_cpu: Option<f64>,
    pub(crate) peak_rss_mib: f64,
    pub(crate) errors: Errors,
}

/// CPU seconds of the subject and the broker between two moments.
struct Cpu {
    pids: [Option<u32>; 2],
    samples: Vec<[Option<f64>; 2]>,
}

// === impl Figures ===

impl Figures {
    pub(crate) async fn measure(
        settings: &Settings,
        flow: Flow,
        subject: Subject,
        queue_type: &str,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let broker = Broker::connect(&settings.amqp_url).await?;
        broker.queue(QUEUE, queue_type).await?;
        let figures = match flow {
            Flow::Accept | Flow::RequestReply => {
                answered(settings, &broker, flow, subject, dir).await
            }
            Flow::Deliver => delivered(settings, &broker, subject, dir).await,
        };
        for name in at_the_broker() {
            broker.delete(&name).await?;
        }
        figures
    }
}

/// What a bridge with the route of a flow makes there, beside the queue.
fn at_the_broker() -> Vec<String> {
    let mut names = vec![QUEUE.to_owned(), format!("hareway.parked.{QUEUE}")];
    let delays = ["1s", "10s", "1m", "10m"];
    names.extend(delays.map(|delay| format!("hareway.retry.{QUEUE}.{delay}")));
    names.push(format!("hareway.reply.{QUEUE}"));
    names
}

/// Accept and request/reply: a load, and what it has for answers.
async fn answered(
    settings: &Settings,
    broker: &Broker,
    flow: Flow,
    subject: Subject,
    dir: &Path,
) -> anyhow::Result<Figures> {
    let started = subject.start(flow, settings, dir, 0).await?;
    let worker = match flow {
        Flow::RequestReply => Some(Worker::start(&settings.amqp_url, QUEUE).await?),
        Flow::Accept | Flow::Deliver => None,
    };
    let load = Load {
        port: started.port,
        path: "/",
        body: vec![b'x'; BODY],
        connections: CONNECTIONS,
        status: if worker.is_some() { 200 } else { 202 },
        warm_up: WARM_UP,
        measured: settings.measured,
    };
    let mut cpu = Cpu::of(&started, settings);
    let answered = load.run(|| cpu.sample()).await?;
    let peak_rss_mib = process::peak_rss_mib(started.process.pid)?;
    let mut errors = answered.errors;
    ended_well(started, &mut errors).await?;
    if flow == Flow::Accept {
        let good = answered.good;
        let found = broker.settled(QUEUE, |found| found >= good).await?;
        errors.add(good.saturating_sub(found), || {
            format!("{good} were accepted, {found} are in the queue")
        });
    }
    let mut latencies = answered.latencies;
    latencies.sort_unstable();
    let count = latencies.len();
    let [own, brokers] = cpu.per_1000(count);
    Ok(Figures {
        rate: count as f64 / settings.measured.as_secs_f64(),
        p50_ms: quantile_ms(&latencies, 0.50),
        p99_ms: quantile_ms(&latencies, 0.99),
        cpu: own.unwrap_or_default(),
        broker_cpu: brokers,
        peak_rss_mib,
        errors,
    })
}

/// Deliver: a full queue, and the time until the backend has it all.
async fn delivered(
    settings: &Settings,
    broker: &Broker,
    subject: Subject,
    dir: &Path,
) -> anyhow::Result<Figures> {
    let count = settings.messages;
    broker.fill(QUEUE, count, &vec![b'x'; BODY]).await?;
    let mut backend = Backend::start(count, BODY).await?;
    let started = subject
        .start(Flow::Deliver, settings, dir, backend.port)
        .await?;
    let mut cpu = Cpu::of(&started, settings);
    cpu.sample()?;
    let delivered = backend.complete(DELIVER_LIMIT).await?;
    cpu.sample()?;
    let peak_rss_mib = process::peak_rss_mib(started.process.pid)?;
    let mut errors = Errors::default();
    let (repeated, wrong) = (delivered.repeated, delivered.wrong);
    errors.add(repeated, || format!("{repeated} delivered again"));
    errors.add(wrong, || format!("{wrong} calls were not as sent"));
    ended_well(started, &mut errors).await?;
    if subject == Subject::Bridge {
        let left = broker.settled(QUEUE, |left| left == 0).await?;
        errors.add(left, || format!("{left} delivered and not acknowledged"));
    }
    let [own, brokers] = cpu.per_1000(count);
    Ok(Figures {
        rate: count as f64 / delivered.took.as_secs_f64(),
        p50_ms: None,
        p99_ms: None,
        cpu: own.unwrap_or_default(),
        broker_cpu: brokers,
        peak_rss_mib,
        errors,
    })
}

async fn ended_well(started: Started, errors: &mut Errors) -> anyhow::Result<()> {
    let well = started.end().await?;
    errors.add(u64::from(!well), || "it did not end in order".to_owned());
    Ok(())
}

/// The nearest rank: no value that was not measured.
fn quantile_ms(sorted: &[Duration], quantile: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1))?;
    Some(value.as_secs_f64() * 1000.0)
}

// === impl Cpu ===

impl Cpu {
    fn of(started: &Started, settings: &Settings) -> Self {
        Self {
            pids: [Some(started.process.pid), settings.broker_pid],
            samples: Vec::new(),
        }
    }

    fn sample(&mut self) -> anyhow::Result<()> {
        let mut now = [None; 2];
        for (seconds, pid) in now.iter_mut().zip(self.pids) {
            *seconds = pid.map(process::cpu_seconds).transpose()?;
        }
        self.samples.push(now);
        Ok(())
    }

    fn per_1000(&self, count: usize) -> [Option<f64>; 2] {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return [None; 2];
        };
        let [own, broker] = [0, 1].map(|which| {
            let (from, to) = (first.get(which)?, last.get(which)?);
            Some((to.as_ref()? - from.as_ref()?) * 1000.0 / count.max(1) as f64)
        });
        [own, broker]
    }
}
