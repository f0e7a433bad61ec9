//! Processes: starting and ending one, and what the kernel says about it.

use std::{fs, net::TcpListener, process::Stdio, time::Duration};

use anyhow::Context;
use serde::de::DeserializeOwned;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::lifeline;

/// `USER_HZ`, the unit of the times in `/proc/PID/stat`: 100 on every Linux that Rust builds for.
const TICKS_PER_SECOND: f64 = 100.0;
const END_LIMIT: Duration = Duration::from_secs(20);
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// A child process; killed with the value.
pub(crate) struct Running {
    child: Child,
    pub(crate) pid: u32,
}

// === impl Running ===

impl Running {
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let child = marked(&mut command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the process")?;
        let pid = child.id().context("the process ended at once")?;
        Ok(Self { child, pid })
    }

    /// Fails where the process has ended, which none does by itself.
    pub(crate) fn alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => anyhow::bail!("it ended by itself: {status}"),
            None => Ok(()),
        }
    }

    /// SIGTERM; true where it finished everything and said so with exit code 0.
    pub(crate) async fn end(mut self) -> anyhow::Result<bool> {
        let pid = self.pid.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        match timeout(END_LIMIT, self.child.wait()).await {
            Ok(status) => Ok(status?.success()),
            Err(_) => Ok(false),
        }
    }

    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// Runs a program to its end; what it prints is JSON.
pub(crate) async fn json_of<T: DeserializeOwned>(mut command: Command) -> anyhow::Result<T> {
    let command = marked(&mut command).stdin(Stdio::null());
    let command = command.stderr(Stdio::inherit()).kill_on_drop(true);
    let output = timeout(RUN_LIMIT, command.output());
    let output = output.await.context("it does not end")??;
    anyhow::ensure!(output.status.success(), "it failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("it did not print its figures")
}

/// It ends with this process, also where that is cut off.
fn marked(command: &mut Command) -> &mut Command {
    lifeline::guard_children();
    command.env(lifeline::MARK, &*lifeline::RUN)
}

/// CPU seconds that a process has used so far, its children's not counted.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    // utime and stime.
    times(pid, &[14, 15])
}

/// CPU seconds that this process and its children that have ended have used so far.
pub(crate) fn family_cpu_seconds() -> anyhow::Result<f64> {
    // cutime and cstime too.
    times(std::process::id(), &[14, 15, 16, 17])
}

/// The sum of these fields, numbered as in proc(5).
fn times(pid: u32, numbers: &[usize]) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold spaces.
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let mut sum = 0.0;
    for number in numbers {
        // The first here is the state, field 3.
        let ticks = number.checked_sub(3).and_then(|index| fields.get(index));
        sum += ticks.context("a short stat")?.parse::<f64>()?;
    }
    Ok(sum / TICKS_PER_SECOND)
}

/// The most memory that a process has had resident, in MiB.
pub(crate) fn peak_rss_mib(pid: u32) -> anyhow::Result<f64> {
    status_mib(pid, "VmHWM:")
}

/// The memory that a process has resident now, in MiB.
pub(crate) fn rss_mib(pid: u32) -> anyhow::Result<f64> {
    status_mib(pid, "VmRSS:")
}

fn status_mib(pid: u32, name: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.with_context(|| format!("no {name}"))?.trim();
    Ok(kib.trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// How many files and sockets this process, and what it starts, may have open.
pub(crate) fn open_files_limit() -> anyhow::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    Ok(soft
        .context("no limit of open files")?
        .parse()
        .unwrap_or(usize::MAX))
}

/// CPU seconds that all processes of the machine have used so far.
pub(crate) fn machine_cpu_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("an empty stat")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // user, nice, system, irq and softirq: the last two are also in the time of whatever process they
    // interrupted.
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|field| ticks.get(*field));
    Ok(busy.sum::<u64>() as f64 / TICKS_PER_SECOND)
}

/// The load average over one minute.
pub(crate) fn load_average() -> anyhow::Result<String> {
    let line = fs::read_to_string("/proc/loadavg")?;
    Ok(line.split(' ').next().unwrap_or("?").to_owned())
}

/// As the kernel calls it.
pub(crate) fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or("unknown CPU", |(_, name)| name.trim())
        .to_owned()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
