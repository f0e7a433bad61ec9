//! The fault matrix: every fault of the list under traffic on all three flows, each id counted
//! from the caller to the backend.
//!
//! `cargo test` plays a short form: one round of the rows that take seconds. `make chaos` plays
//! everything; see `docs/reliability.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its tasks end with its runtime"
)]
#![allow(
    unreachable_pub,
    reason = "nothing outside this binary can reach it anyway"
)]

mod arena;
mod arguments;
mod backend;
mod body;
mod cluster;
mod disk;
mod ledger;
mod report;
mod rows;
mod scene;
#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the other tests, which use the rest of it"
)]
mod support;
mod tally;
mod traffic;
mod worker;

use std::process::ExitCode;

use arguments::Arguments;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(64);
        }
    };
    if arguments.list {
        report::list();
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let begun = Instant::now();
    let stop = CancellationToken::new();
    runtime.spawn(told_to_stop(stop.clone()));
    let finished = runtime.block_on(arena::play(&arguments, &stop));
    let took = begun.elapsed();
    drop(runtime);
    report::print(&finished);
    let written = match &arguments.write {
        Some(file) => report::write(file, &finished, &arguments, took),
        None => Ok(()),
    };
    if let Err(error) = written {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    if !finished.iter().all(|row| row.holds()) {
        report::print_failures(&finished);
        return ExitCode::FAILURE;
    }
    if stop.is_cancelled() {
        eprintln!("ended early: the table has the rounds that were played");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The first Ctrl-C lets the rounds that are under way end, the second ends the process at once.
async fn told_to_stop(stop: CancellationToken) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.is_cancelled() {
            std::process::exit(130);
        }
        eprintln!("the rounds that are under way come to their ends");
        stop.cancel();
    }
}
