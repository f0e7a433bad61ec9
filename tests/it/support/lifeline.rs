//! What this test process starts must not outlive it, however it ends.
//!
//! A guard is a small shell that waits for the end of its standard input. That pipe is held by
//! this process alone, so it closes on a normal end, a panic, ctrl-C and SIGKILL alike.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{LazyLock, OnceLock},
};

/// In the environment of every process that this one starts and that must end with it.
pub const MARK: &str = "HAREWAY_TEST_RUN";

/// The mark's value: unique per test process.
pub static RUN: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());

/// Runs a shell script when it is dropped, or when this process ends.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// `script` sees `arguments` as `$1`, `$2`, …
    pub fn new(script: &str, arguments: &[&str]) -> Self {
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("trap '' INT TERM HUP; cat >/dev/null; {script}"))
            .arg("guard")
            .args(arguments)
            // A group of its own: ctrl-C reaches the tests, not the guard.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Self(child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// Kills, at the end of this process, whatever still carries its mark.
pub fn guard_children() {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    GUARD.get_or_init(|| {
        let script = r#"
            for process in /proc/[0-9]*; do
                if tr '\0' '\n' 2>/dev/null <"$process/environ" | grep -qxF "$1"; then
                    kill -KILL "${process#/proc/}" 2>/dev/null
                fi
            done"#;
        Guard::new(script, &[&format!("{MARK}={}", *RUN)])
    });
}
