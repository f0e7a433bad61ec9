//! Times the pure parts, an operation each. `make bench` runs it and puts the medians into
//! docs/performance.md; `cargo bench --bench micro -- router` runs some of it.
#![allow(clippy::expect_used, reason = "a bench ends at its first mistake")]
#![allow(clippy::indexing_slicing, reason = "a bench ends at its first mistake")]

#[path = "../cases/mod.rs"]
mod cases;

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion};
use hareway::{config, message, server, telemetry};

use cases::{
    configuration::Configuration, mapping::Mapping, rendering::Rendering, replies::Waiting,
    routing::Routing,
};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    templates(&mut criterion);
    router(&mut criterion);
    headers(&mut criterion);
    replies(&mut criterion);
    configuration(&mut criterion);
    criterion.final_summary();
}

fn templates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("template");
    let rendering = Rendering::new();
    group.bench_function("routing key", |bench| bench.iter(|| rendering.key()));
    group.bench_function("url", |bench| bench.iter(|| rendering.url()));
    group.bench_function("json", |bench| bench.iter(|| rendering.json()));
}

fn router(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router");
    for routes in [1, 100, 10_000] {
        let mut routing = Routing::new(routes);
        let id = BenchmarkId::from_parameter(routes);
        group.bench_function(id, |bench| bench.iter(|| routing.find()));
    }
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    let mapping = Mapping::new();
    let to_message = |bench: &mut criterion::Bencher<'_>| bench.iter(|| mapping.to_message());
    group.bench_function("request to message", to_message);
    let to_request = |bench: &mut criterion::Bencher<'_>| bench.iter(|| mapping.to_request());
    group.bench_function("message to request", to_request);
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replies");
    for others in [0, 10_000] {
        let waiting = Waiting::new(others);
        let id = BenchmarkId::new("register and resolve, waiting", others);
        group.bench_function(id, |bench| bench.iter(|| waiting.answer()));
    }
}

fn configuration(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("configuration");
    group.sample_size(10);
    for routes in [100, 10_000] {
        let configuration = Configuration::new(routes);
        let id = BenchmarkId::new("load and check, routes", routes);
        group.bench_function(id, |bench| bench.iter(|| black_box(configuration.load())));
    }
}
