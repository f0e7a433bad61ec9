//! What is wanted, and whether it was measured.

use super::{
    numbers::{head, median},
    rounds::{CPU, P99, PEAK, RATE, Value, middle, ratio},
};
use crate::model::{CONNECTIONS, Flow, Rounds, Run, Subject};

struct Target {
    what: String,
    bound: Bound,
    /// `None` where it was not measured.
    found: Option<f64>,
    unit: &'static str,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};

pub(super) fn render(run: &Run) -> String {
    let kinds = [
        accept,
        deliver,
        request_reply,
        memory,
        beginning,
        connections,
    ];
    let targets: Vec<Target> = kinds.into_iter().flat_map(|kind| kind(run)).collect();
    if targets.iter().all(|target| target.found.is_none()) {
        return String::new();
    }
    let mut table = head(&["", "wanted"], &["measured"]);
    table = table
        .replace(" measured |\n", " measured | |\n")
        .replace("---:|\n", "---:|---|\n");
    let mut not_measured = Vec::new();
    let (mut met, mut missed) = (0, 0);
    for target in &targets {
        match target.met() {
            Some(true) => met += 1,
            Some(false) => missed += 1,
            None => {
                not_measured.push(target.what.as_str());
                continue;
            }
        }
        table.push_str(&target.row());
    }
    table.push_str(&format!("\n{met} met, {missed} missed"));
    if !not_measured.is_empty() {
        let (count, names) = (not_measured.len(), not_measured.join("; "));
        table.push_str(&format!(", {count} not measured: {names}"));
    }
    table.push('.');
    table
}

fn accept(run: &Run) -> Vec<Target> {
    let cpu_of = |subject| middle(of(run, Flow::Accept, subject)?, CPU);
    let sum = || Some(cpu_of(Subject::Http)? + cpu_of(Subject::Publish)?);
    let later = || {
        let bridge = of(run, Flow::Accept, Subject::Bridge)?;
        let limit = of(run, Flow::Accept, Subject::Accept)?;
        let pairs = bridge.figures.iter().zip(&limit.figures);
        median(
            pairs
                .filter_map(|(one, other)| Some(P99(one)? - P99(other)?))
                .collect(),
        )
    };
    vec![
        Target::new(
            "accept: rate ÷ bare publisher",
            AtLeast(0.95),
            divided(run, Flow::Accept, Subject::Publish, RATE),
            "",
        ),
        Target::new(
            "accept: CPU ÷ naive accept (hyper and lapin in one program)",
            AtMost(0.85),
            divided(run, Flow::Accept, Subject::Naive, CPU),
            "",
        ),
        Target::new(
            "accept: CPU ÷ (bare HTTP 202 + bare publisher)",
            AtMost(0.85),
            cpu_of(Subject::Bridge)
                .zip(sum())
                .map(|(bridge, sum)| bridge / sum),
            "",
        ),
        Target::new(
            "accept: p99 − p99 of publisher behind HTTP",
            AtMost(1.0),
            later(),
            " ms",
        ),
    ]
}

fn deliver(run: &Run) -> Vec<Target> {
    let against = |value| divided(run, Flow::Deliver, Subject::Deliver, value);
    vec![
        Target::new(
            "deliver: rate ÷ consume, call, ack",
            AtLeast(1.2),
            against(RATE),
            "",
        ),
        Target::new(
            "deliver: CPU ÷ consume, call, ack",
            AtMost(0.7),
            against(CPU),
            "",
        ),
    ]
}

fn request_reply(run: &Run) -> Vec<Target> {
    let held = run.held.as_ref().filter(|held| held.calls >= 10_000);
    vec![
        Target::new(
            "request/reply: rate ÷ bare RPC",
            AtLeast(1.0),
            divided(run, Flow::RequestReply, Subject::Rpc, RATE),
            "",
        ),
        Target::new(
            "request/reply: memory with 10,000 calls held",
            AtMost(100.0),
            held.map(|held| held.peak_mib),
            " MiB",
        ),
    ]
}

fn memory(run: &Run) -> Vec<Target> {
    let peaks = Flow::ALL.map(|flow| {
        let peak = of(run, flow, Subject::Bridge).and_then(|rounds| middle(rounds, PEAK));
        let what = format!("{}: peak memory at 1 KiB", flow.name());
        Target::new(what, AtMost(25.0), peak, " MiB")
    });
    let mut all = Vec::from(peaks);
    let queue = match run.backlogs.as_slice() {
        [long, short] => Some(long.peak_mib / short.peak_mib),
        _ => None,
    };
    all.push(Target::new(
        "deliver: memory with the long queue ÷ with a short one",
        AtMost(1.1),
        queue,
        "",
    ));
    let spool = run.long_spool.as_ref().and_then(|long| {
        let at = |share: usize| long.filling.get(long.filling.len() * share / 10);
        Some(long.filling.last()?.memory_mib / at(1)?.memory_mib)
    });
    all.push(Target::new(
        "accept: memory with the whole long spool ÷ with a tenth of it",
        AtMost(1.1),
        spool,
        "",
    ));
    all
}

fn beginning(run: &Run) -> Vec<Target> {
    let slowest = run
        .starts
        .iter()
        .filter_map(|starts| median(starts.ready_ms.clone()));
    let against = |value| match run.routes.as_slice() {
        [one, many] => ratio(many, one, value),
        _ => None,
    };
    vec![
        Target::new(
            "start to ready, the slowest flow",
            AtMost(100.0),
            slowest.reduce(f64::max),
            " ms",
        ),
        Target::new(
            "10,000 routes: rate ÷ one route",
            AtLeast(0.95),
            against(RATE),
            "",
        ),
        Target::new(
            "10,000 routes: CPU ÷ one route",
            AtMost(1.05),
            against(CPU),
            "",
        ),
        Target::new(
            "10,000 routes: load and check",
            AtMost(1.0),
            median(run.check_seconds.clone()),
            " s",
        ),
    ]
}

/// No cliff: many connections are no slower than some.
fn connections(run: &Run) -> Vec<Target> {
    let rate = |flow, queue_type: &str, connections| {
        let here = |rounds: &&Rounds| {
            let point = &rounds.point;
            rounds.subject == Subject::Bridge
                && (point.flow, point.connections) == (flow, connections)
                && point.queue_type == queue_type
        };
        middle(run.connections.iter().find(here)?, RATE)
    };
    let least = Flow::ALL
        .into_iter()
        .flat_map(|flow| ["quorum", "classic"].map(|queue_type| (flow, queue_type)))
        .map(|(flow, kind)| Some(rate(flow, kind, 512)? / rate(flow, kind, CONNECTIONS)?))
        .collect::<Option<Vec<f64>>>();
    vec![Target::new(
        "512 connections: rate ÷ that of 64, the least of all flows and queues",
        AtLeast(0.8),
        least.and_then(|all| all.into_iter().reduce(f64::min)),
        "",
    )]
}

fn of(run: &Run, flow: Flow, subject: Subject) -> Option<&Rounds> {
    let here = |rounds: &&Rounds| rounds.point.flow == flow && rounds.subject == subject;
    run.flows.iter().find(here)
}

fn divided(run: &Run, flow: Flow, by: Subject, value: Value) -> Option<f64> {
    ratio(of(run, flow, Subject::Bridge)?, of(run, flow, by)?, value)
}

// === impl Target ===

impl Target {
    fn new(what: impl Into<String>, bound: Bound, found: Option<f64>, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            bound,
            found,
            unit,
        }
    }

    fn met(&self) -> Option<bool> {
        let found = self.found?;
        Some(match self.bound {
            AtLeast(bound) => found >= bound,
            AtMost(bound) => found <= bound,
        })
    }

    fn row(&self) -> String {
        let Self { what, unit, .. } = self;
        let wanted = match self.bound {
            AtLeast(bound) => format!("≥ {bound}{unit}"),
            AtMost(bound) => format!("≤ {bound}{unit}"),
        };
        let found = self.found.map(|found| format!("{found:.2}{unit}"));
        let found = found.unwrap_or_else(|| "–".to_owned());
        let met = match self.met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "–",
        };
        format!("| {what} | {wanted} | {found} | {met} |\n")
    }
}
