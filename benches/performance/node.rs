//! The broker's process: what it has used, and ending and starting it.

use std::{
    env, fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::process;

const STOP_LIMIT: Duration = Duration::from_secs(60);
const CALM_LIMIT: Duration = Duration::from_secs(5);
const CALM_SPAN: Duration = Duration::from_millis(200);
/// CPU seconds of the broker in that span: a twentieth of a core.
const CALM: f64 = 0.01;

/// A broker of this machine that belongs to the measurement.
pub(crate) struct Node {
    script: PathBuf,
    pid_file: PathBuf,
    /// CPU seconds of its processes that have ended.
    spent: Mutex<f64>,
}

// === impl Node ===

impl Node {
    /// As `scripts/bench` names it; `None` for any other broker.
    pub(crate) fn from_environment() -> Option<Self> {
        let script = env::var_os("BENCH_BROKER_SCRIPT")?;
        let pid_file = env::var_os("BENCH_BROKER_PID_FILE")?;
        Some(Self {
            script: script.into(),
            pid_file: pid_file.into(),
            spent: Mutex::default(),
        })
    }

    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        let text = fs::read_to_string(&self.pid_file).context("the broker has no pid file")?;
        Ok(text.trim().parse()?)
    }

    /// CPU seconds so far, those of the processes before it included.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let spent = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(spent + process::cpu_seconds(self.pid()?)?)
    }

    /// Ends it as an operator would, and keeps its data; `up` brings it back.
    ///
    /// A kill would measure something else: a queue declared just before is down for ever then.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        let spent = process::cpu_seconds(pid)?;
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) += spent;
        let mut command = Command::new("kill");
        command.args(["-TERM", &pid.to_string()]).status().await?;
        let deadline = Instant::now() + STOP_LIMIT;
        while process::cpu_seconds(pid).is_ok() {
            anyhow::ensure!(Instant::now() < deadline, "the broker does not end");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub(crate) async fn up(&self) -> anyhow::Result<()> {
        self.script("up").await?;
        Ok(())
    }

    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        Ok(self.script("ctl version").await?.trim().to_owned())
    }

    async fn script(&self, arguments: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.script);
        command.args(arguments.split(' '));
        let output = command.output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "broker {arguments}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until it has done with what was before, or for a while.
    pub(crate) async fn calm(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CALM_LIMIT;
        while Instant::now() < deadline {
            let before = process::cpu_seconds(self.pid()?)?;
            sleep(CALM_SPAN).await;
            if process::cpu_seconds(self.pid()?)? - before <= CALM {
                break;
            }
        }
        Ok(())
    }
}
