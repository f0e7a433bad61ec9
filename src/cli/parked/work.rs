//! What every command here does: connect, go over the queues, say how it went.

use std::process::ExitCode;

use anyhow::Context;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    progress::Progress,
    selection::{Arguments, Queues},
};
use crate::{
    amqp::parked::{Deed, Facts, Filter, Job, ParkedError, Report, Tally, Tool},
    cli::{USAGE, sources},
    config::Config,
    message::Message,
    task,
};

/// Failures of one queue that are told one by one.
const SHOWN: u64 = 20;

/// A configuration read and its queues known, or the exit code that says why not.
pub(super) fn prepare(arguments: &Arguments) -> Result<(Config, Queues), ExitCode> {
    let loaded = arguments
        .sources
        .load()
        .map_err(|found| sources::refuse(&found))?;
    match arguments.queues(&loaded.config) {
        Ok(queues) => Ok((loaded.config, queues)),
        Err(why) => Err(usage(&why)),
    }
}

/// A mistake in how the command was called.
pub(super) fn usage(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(USAGE)
}

/// What to do in each queue.
pub(super) struct Plan<'a> {
    pub queues: &'a Queues,
    pub filter: Filter,
    /// Over all queues.
    pub limit: Option<u64>,
    pub deed: Deed,
}

/// How it went over all queues.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub total: Tally,
    /// Something could not be done; it has been said on standard error.
    pub failed: bool,
    pub interrupted: bool,
}

impl Outcome {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self.failed || self.interrupted || self.total.failed > 0 {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// Called for each message that matches, with its queue.
pub(super) type OnMatch<'a> = dyn FnMut(&str, &Message, &Facts) + Send + 'a;

/// Goes over the queues, one after the other. SIGINT and SIGTERM end it in order.
///
/// # Errors
/// The broker cannot be reached. What goes wrong with one queue is said, and the next one is
/// looked into.
pub(super) fn run(
    config: &Config,
    plan: &Plan<'_>,
    on_match: &mut OnMatch<'_>,
) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = follow_signals(stop.clone()).context("cannot follow signals")?;
        task::spawn(&TaskTracker::new(), "signals", signals);
        let tool = Tool::open(&config.amqp)
            .await
            .context("cannot connect to the broker")?;
        let outcome = go_over(&tool, plan, &stop, on_match).await;
        tool.close().await;
        Ok(outcome)
    });
    runtime.shutdown_background();
    outcome
}

async fn go_over(
    tool: &Tool,
    plan: &Plan<'_>,
    stop: &CancellationToken,
    on_match: &mut OnMatch<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    for queue in &plan.queues.names {
        let left = plan
            .limit
            .map(|limit| limit.saturating_sub(outcome.total.matched));
        let job = Job {
            queue: queue.clone(),
            filter: plan.filter.clone(),
            limit: left,
            deed: plan.deed.clone(),
        };
        let mut tally = Tally::default();
        let mut progress = Progress::new();
        let mut failures = 0_u64;
        let walked = tool
            .walk(&job, stop, &mut tally, &mut |report| match report {
                Report::Matched(message, facts) => {
                    progress.clear();
                    on_match(queue, message, facts);
                }
                Report::Failed { facts, why } => {
                    failures += 1;
                    if failures > SHOWN {
                        return;
                    }
                    progress.clear();
                    let id = facts.id.as_deref().unwrap_or("(no id)");
                    eprintln!("stays in `{queue}`: {}: {why}", printable(id));
                }
                Report::Progress(tally) => progress.tell(tally),
            })
            .await;
        progress.clear();
        if failures > SHOWN {
            eprintln!("stays in `{queue}`: {} more", failures - SHOWN);
        }
        add(&mut outcome.total, &tally);
        match walked {
            Ok(()) => {}
            // A queue that nothing has ever been parked in may not have been made yet.
            Err(ParkedError::NoQueue(_)) if !plan.queues.named => {
                eprintln!("note: queue `{queue}` does not exist");
            }
            Err(error) => {
                eprintln!("error: {error}");
                outcome.failed = true;
            }
        }
        outcome.failed |= complain(queue, &tally);
        if stop.is_cancelled() {
            eprintln!("interrupted; what was not done stays in its queue");
            outcome.interrupted = true;
            break;
        }
    }
    outcome
}

/// Says what is in doubt afterwards; `true` if anything is.
fn complain(queue: &str, tally: &Tally) -> bool {
    if tally.unknown > 0 {
        eprintln!(
            "error: the connection was lost before the broker had shown that {} messages are off \
             `{queue}`: they may still be there",
            tally.unknown
        );
    }
    if tally.worn > 0 {
        eprintln!(
            "error: {} messages in `{queue}` near its delivery limit, and no copy of them could \
             be put back: look at them no more",
            tally.worn
        );
    }
    tally.unknown + tally.worn > 0
}

fn add(total: &mut Tally, tally: &Tally) {
    total.messages += tally.messages;
    total.scanned += tally.scanned;
    total.matched += tally.matched;
    total.replayed += tally.replayed;
    total.discarded += tally.discarded;
    total.unknown += tally.unknown;
    total.failed += tally.failed;
    total.worn += tally.worn;
    total.remaining += tally.remaining;
}

fn follow_signals(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    })
}

/// For a terminal: what a message says must not move the cursor.
pub(super) fn printable(text: &str) -> String {
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(escape).collect()
}
