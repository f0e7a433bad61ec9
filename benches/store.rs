//! Figures of the store: `cargo bench --bench store [-- FOLDER [RECORDS]]`.
//!
//! How fast it takes messages from many callers beside a plain file that is synced as often, how
//! fast a spool is emptied, what a million messages take in memory and on the disk.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program of its own that prints a table"
)]

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use hareway::{
    config::model,
    message::Publish,
    store::{Spool, Store},
};
use lapin::BasicProperties;
use tokio::time::Instant;

const BODY: usize = 512;
const CALLERS: usize = 64;
const SPAN: Duration = Duration::from_secs(4);
const BATCH_BYTES: u64 = 8 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let folder = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let records: usize = match arguments.next() {
        Some(text) => text.parse().context("RECORDS is no number")?,
        None => 1_000_000,
    };
    let folder = folder.join(format!("hareway-store-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&folder, records).await;
    fs::remove_dir_all(&folder)?;
    measured
}

async fn measure(folder: &Path, records: usize) -> anyhow::Result<()> {
    println!("{BODY} B bodies, in {}", folder.display());
    for callers in [1, CALLERS] {
        let plain = plain(&folder.join("plain"), callers)?;
        let store = Store::open(&folder.join(format!("callers-{callers}")))?;
        let (rate, p99) = append_for(&spool(&store), callers).await?;
        store.close().await;
        println!(
            "append, {callers:>2} callers: {rate:>7.0}/s, p99 {p99:.1} ms; plain file synced every {callers}: {plain:>7.0}/s; ratio {:.2}",
            rate / plain
        );
    }
    for batch in [64, 256] {
        let path = folder.join(format!("drain-{batch}"));
        drained(&path, records.min(100_000), batch).await?;
    }
    many(&folder.join("many"), records).await
}

/// Appends by so many callers, each one waiting for its answer: rate a second, and p99 in
/// milliseconds.
async fn append_for(spool: &Spool, callers: usize) -> anyhow::Result<(f64, f64)> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let spool = spool.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < SPAN {
                    let begun = Instant::now();
                    spool.append(message()).await?;
                    times.push(begun.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort();
    let p99 = times
        .get(times.len() * 99 / 100)
        .copied()
        .unwrap_or_default();
    Ok((rate, p99.as_secs_f64() * 1000.0))
}

/// The most that a disk gives: bodies at the end of a file, synced every `group`.
fn plain(path: &Path, group: usize) -> anyhow::Result<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let bodies = vec![7; BODY * group];
    let (start, mut written) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        file.write_all(&bodies)?;
        file.sync_data()?;
        written += group;
    }
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

async fn drained(path: &Path, records: usize, batch: usize) -> anyhow::Result<()> {
    let store = Store::open(path)?;
    let spool = spool(&store);
    fill(&spool, records).await?;
    let full = length(path)?;
    let rate = drain(&spool, batch).await?;
    spool.first(1, 1).await?;
    println!(
        "drain, batches of {batch:>3}: {rate:>7.0}/s; {records} records, file {} MiB, {} MiB when empty",
        full >> 20,
        length(path)? >> 20
    );
    store.close().await;
    Ok(())
}

/// What so many records take, and how long a start takes after a crash.
async fn many(path: &Path, records: usize) -> anyhow::Result<()> {
    let store = Store::open(path)?;
    let line = spool(&store);
    let before = rss_mib()?;
    let mut peak = before;
    for part in 1..=10 {
        fill(&line, records / 10).await?;
        let now = rss_mib()?;
        peak = peak.max(now);
        println!(
            "{:>8} records: {now} MiB resident ({before} before the first), file {} MiB",
            records / 10 * part,
            length(path)? >> 20
        );
    }
    let crashed = path.with_extension("crashed");
    fs::create_dir_all(&crashed)?;
    fs::copy(file(path), file(&crashed))?;
    let start = Instant::now();
    let again = Store::open(&crashed)?;
    println!(
        "opened after a crash in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    anyhow::ensure!(spool(&again).usage() == line.usage(), "something was lost");
    again.close().await;
    let start = Instant::now();
    Store::open(&crashed)?.close().await;
    println!(
        "opened after a close in {:.3} s",
        start.elapsed().as_secs_f64()
    );
    fs::remove_dir_all(&crashed)?;

    let rate = drain(&line, 256).await?;
    line.first(1, 1).await?;
    println!(
        "drained at {rate:.0}/s; {} MiB resident, {peak} at most while filling; file {} MiB",
        rss_mib()?,
        length(path)? >> 20
    );
    store.close().await;
    println!("closed: file {} MiB", length(path)? >> 20);
    Ok(())
}

/// By as many callers as may be in one transaction.
async fn fill(spool: &Spool, records: usize) -> anyhow::Result<()> {
    let left = Arc::new(AtomicUsize::new(records));
    let tasks: Vec<_> = (0..256)
        .map(|_| {
            let (spool, left) = (spool.clone(), left.clone());
            let take = move || {
                let less = |left: usize| left.checked_sub(1);
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                    .is_ok()
            };
            tokio::spawn(async move {
                while take() {
                    spool.append(message()).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Messages a second.
async fn drain(spool: &Spool, batch: usize) -> anyhow::Result<f64> {
    let (start, mut drained) = (Instant::now(), 0);
    loop {
        let first = spool.first(batch, BATCH_BYTES).await?;
        if first.is_empty() {
            return Ok(drained as f64 / start.elapsed().as_secs_f64());
        }
        drained += first.len();
        spool
            .remove(first.iter().map(|entry| entry.key).collect())
            .await?;
    }
}

fn spool(store: &Store) -> Spool {
    let limits = model::Spool {
        max_bytes: u64::MAX,
        max_age: None,
    };
    store.spool(&"orders".into(), &limits)
}

fn message() -> Publish {
    Publish {
        exchange: "orders".into(),
        routing_key: "order.placed".into(),
        properties: BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(hareway::message::new_id()),
        body: vec![7; BODY].into(),
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("hareway.redb")
}

fn length(folder: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(file(folder))?.len())
}

fn rss_mib() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no VmRSS")?.parse::<u64>()? / 1024)
}
