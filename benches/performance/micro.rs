//! What the micro benches have found; they are a program of their own, and leave files.

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::Context;
use serde::Deserialize;

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// Nanoseconds.
    point_estimate: f64,
}

/// The median of each, in nanoseconds, as they were last timed.
pub(crate) fn medians() -> anyhow::Result<BTreeMap<String, f64>> {
    // target/release/deps/this program
    let program = env::current_exe()?;
    let target = program.ancestors().nth(3).context("no target folder")?;
    let mut found = BTreeMap::new();
    collect(&target.join("criterion"), &mut found)?;
    Ok(found)
}

fn collect(folder: &Path, found: &mut BTreeMap<String, f64>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.ends_with("new") {
            let benchmark: Benchmark = json(&path.join("benchmark.json"))?;
            let estimates: Estimates = json(&path.join("estimates.json"))?;
            found.insert(benchmark.full_id, estimates.median.point_estimate);
        } else if path.is_dir() {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn json<T: for<'a> Deserialize<'a>>(file: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}
