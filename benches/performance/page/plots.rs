//! Plots, as SVG.

use std::path::Path;

use plotters::{coord::Shift, prelude::*};

use super::rounds::{P99, RATE, Value, middle};
use crate::{
    model::{Flow, Rounds, Run, Sample, Subject},
    plan::{QUEUE_TYPES, SWEEP},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "sans-serif";
/// One for each type of queue.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 90, 160), RGBColor(190, 90, 0)];

/// Rate and p99 over the number of connections, each type of queue, bridge and limit program.
pub(super) fn connections(file: &Path, run: &Run, flow: Flow) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, (900, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(450);
    let rounds: Vec<&Rounds> = run
        .connections
        .iter()
        .filter(|rounds| rounds.point.flow == flow)
        .collect();
    panel(
        &left,
        &format!("{}: per second", flow.name()),
        &rounds,
        flow,
        RATE,
    )?;
    panel(
        &right,
        &format!("{}: p99, ms", flow.name()),
        &rounds,
        flow,
        P99,
    )?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &Area<'_>,
    title: &str,
    rounds: &[&Rounds],
    flow: Flow,
    value: Value,
) -> anyhow::Result<()> {
    let values = rounds.iter().filter_map(|rounds| middle(rounds, value));
    let most = values.fold(0.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..(SWEEP.len() - 1) as f64, 0.0..most.max(1.0))?;
    let connections = |place: &f64| {
        let there = SWEEP.get(place.round() as usize);
        there.map_or_else(String::new, u16::to_string)
    };
    chart
        .configure_mesh()
        .x_labels(SWEEP.len())
        .x_label_formatter(&connections)
        .x_desc("connections")
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 12))
        .draw()?;
    for (queue_type, colour) in QUEUE_TYPES.into_iter().zip(COLOURS) {
        for subject in [Subject::Bridge, flow.limit()] {
            let points: Vec<(f64, f64)> = SWEEP
                .into_iter()
                .enumerate()
                .filter_map(|(place, connections)| {
                    let here = rounds.iter().find(|rounds| {
                        let point = &rounds.point;
                        rounds.subject == subject
                            && point.connections == connections
                            && point.queue_type == queue_type
                    })?;
                    Some((place as f64, middle(here, value)?))
                })
                .collect();
            let width = if subject == Subject::Bridge { 3 } else { 1 };
            let style = colour.stroke_width(width);
            let name = format!("{}, {queue_type}", subject.name());
            chart
                .draw_series(LineSeries::new(points.clone(), style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            let dots = points.into_iter();
            chart.draw_series(dots.map(|at| Circle::new(at, 3, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 12))
        .draw()?;
    Ok(())
}

/// Memory and store over the number of messages in a long spool, filling and draining.
pub(super) fn spool(file: &Path, run: &Run) -> anyhow::Result<()> {
    let Some(long) = &run.long_spool else {
        return Ok(());
    };
    let root = SVGBackend::new(file, (900, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(450);
    let both = [
        ("filling", &long.filling[..]),
        ("draining", &long.draining[..]),
    ];
    over_messages(&left, "memory, MiB", both, |sample| sample.memory_mib)?;
    over_messages(&right, "store, MiB", both, |sample| sample.file_mib)?;
    root.present()?;
    Ok(())
}

fn over_messages(
    area: &Area<'_>,
    title: &str,
    both: [(&'static str, &[Sample]); 2],
    value: fn(&Sample) -> f64,
) -> anyhow::Result<()> {
    let all = both.iter().flat_map(|(_, samples)| samples.iter());
    let most = all.clone().map(value).fold(0.0, f64::max) * 1.2;
    let messages = all.map(|sample| sample.messages).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..messages as f64, 0.0..most.max(1.0))?;
    chart
        .configure_mesh()
        .x_labels(6)
        .x_label_formatter(&|messages: &f64| format!("{messages:.0}"))
        .x_desc("messages in the spool")
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 12))
        .draw()?;
    for ((name, samples), colour) in both.into_iter().zip(COLOURS) {
        let points = samples
            .iter()
            .map(|sample| (sample.messages as f64, value(sample)));
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 12))
        .draw()?;
    Ok(())
}
