//! Which subjects are measured at which points, and how often.

use std::path::Path;

use anyhow::Context;

use crate::{
    measure::Round,
    model::{Flow, Point, Rounds, Subject},
    settings::{Effort, Settings},
};

/// Of the sweep over the number of connections.
pub(crate) const SWEEP: [u16; 4] = [1, 8, 64, 512];
pub(crate) const QUEUE_TYPES: [&str; 2] = ["quorum", "classic"];
/// Bytes of the larger bodies.
pub(crate) const BODIES: [usize; 2] = [64 << 10, 1 << 20];

/// A flow's subjects, side by side.
pub(crate) async fn flow(
    settings: &Settings,
    flow: Flow,
    dir: &Path,
) -> anyhow::Result<Vec<Rounds>> {
    let point = Point::plain(flow, "quorum");
    let effort = settings.effort();
    measure(
        settings,
        effort,
        settings.rounds,
        &[point],
        flow.subjects(),
        dir,
    )
    .await
}

/// Accept with one route and with many.
pub(crate) async fn routes(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<Rounds>> {
    let point = Point::plain(Flow::Accept, "quorum");
    let subjects = [Subject::Bridge, Subject::ManyRoutes];
    let effort = settings.effort();
    measure(settings, effort, settings.rounds, &[point], &subjects, dir).await
}

/// Few and many connections, on both types of queue; one short round each.
pub(crate) async fn connections(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<Rounds>> {
    let mut all = Vec::new();
    for flow in Flow::ALL {
        let points: Vec<Point> = QUEUE_TYPES
            .into_iter()
            .flat_map(|queue_type| {
                SWEEP.map(|connections| Point {
                    connections,
                    ..Point::plain(flow, queue_type)
                })
            })
            .collect();
        let subjects = [Subject::Bridge, flow.limit()];
        let effort = settings.effort().half();
        all.extend(measure(settings, effort, 1, &points, &subjects, dir).await?);
    }
    Ok(all)
}

/// Larger bodies, over few connections; one round each.
pub(crate) async fn bodies(settings: &Settings, dir: &Path) -> anyhow::Result<Vec<Rounds>> {
    let mut all = Vec::new();
    for flow in Flow::ALL {
        let points = BODIES.map(|body| Point {
            connections: 16,
            body,
            ..Point::plain(flow, "quorum")
        });
        let subjects = [Subject::Bridge, flow.limit()];
        let effort = settings.effort().half();
        all.extend(measure(settings, effort, 1, &points, &subjects, dir).await?);
    }
    Ok(all)
}

/// Every subject in turn, once a round, at one point after the other.
async fn measure(
    settings: &Settings,
    effort: Effort,
    rounds: usize,
    points: &[Point],
    subjects: &[Subject],
    dir: &Path,
) -> anyhow::Result<Vec<Rounds>> {
    let mut all = Vec::new();
    for point in points {
        let mut here: Vec<Rounds> = subjects
            .iter()
            .map(|subject| Rounds {
                point: point.clone(),
                subject: *subject,
                figures: Vec::new(),
            })
            .collect();
        for number in 0..rounds {
            for each in &mut here {
                let round = Round {
                    settings,
                    effort,
                    point,
                    subject: each.subject,
                    dir,
                };
                let what = name(&round);
                let figures = round.measure().await.context(what.clone())?;
                let (rate, cpu, errors) = (figures.rate, figures.cpu, figures.errors.count);
                eprintln!(
                    "round {}: {what}: {rate:.0}/s, {cpu:.4} CPU-s per 1,000, {errors} errors",
                    number + 1
                );
                each.figures.push(figures);
            }
            // None always has another's aftermath.
            here.reverse();
        }
        here.sort_by_key(|each| subjects.iter().position(|subject| *subject == each.subject));
        all.extend(here);
    }
    Ok(all)
}

fn name(round: &Round<'_>) -> String {
    let Point {
        flow,
        queue_type,
        connections,
        body,
    } = round.point;
    let (flow, subject) = (flow.name(), round.subject.name());
    format!("{flow}, {subject}, {queue_type}, {connections} connections, {body} B")
}
