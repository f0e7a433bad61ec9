//! The calls under way: few, bounded, and brought to their end in order.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    amqp::parked::{Facts, Job, ParkedError, Report, Tally, Tool},
    config::{Config, model::Amqp},
    message::Message,
    task,
};

/// Calls at once: each holds messages of a queue for as long as it lasts.
const AT_ONCE: usize = 2;
/// After so long a call answers with what it has done.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How long calls may take to give back what they hold when the process ends.
const FINISH_LIMIT: Duration = Duration::from_secs(5);
/// Failures that are told one by one.
const FAILURES: usize = 20;

pub(super) struct Work {
    amqp: Arc<Amqp>,
    queues: Vec<String>,
    permits: Arc<Semaphore>,
    tracker: TaskTracker,
    stop: OnceLock<CancellationToken>,
}

/// What a walk came to.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) tally: Tally,
    /// What was shown of each message that matches; nothing of those of which nothing is shown.
    pub(super) found: Vec<Value>,
    failures: Vec<Value>,
    pub(super) error: Option<ParkedError>,
    /// The same for the caller.
    pub(super) said: Option<String>,
}

impl Walked {
    /// The answer of a replay or discard.
    pub(super) fn into_document(self, dry_run: bool) -> Value {
        let mut document = json!({
            "tally": self.tally,
            "dry_run": dry_run,
            "failures": self.failures,
            "error": self.said,
        });
        if let Some(members) = document.as_object_mut().filter(|_| dry_run) {
            members.insert("messages".to_owned(), self.found.into());
        }
        document
    }
}

impl Work {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            amqp: Arc::new(config.amqp.clone()),
            queues: config.parked_queues(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            tracker: TaskTracker::new(),
            stop: OnceLock::new(),
        }
    }

    pub(super) fn follow(&self, stop: &CancellationToken) {
        self.stop.get_or_init(|| stop.clone());
    }

    pub(super) async fn finish(&self) {
        self.tracker.close();
        if tokio::time::timeout(FINISH_LIMIT, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "a look at parked messages did not end in time; the broker takes back what it held"
            );
        }
    }

    /// The queue as a label: what callers ask for must not make metrics without end.
    pub(super) fn label<'a>(&self, queue: &'a str) -> &'a str {
        match self.queues.iter().any(|known| known == queue) {
            true => queue,
            false => "",
        }
    }

    /// The messages of every queue of the configuration; `None` where there is no such queue.
    pub(super) async fn count(&self) -> Result<Vec<(String, Option<u32>)>, ParkedError> {
        let _permit = self.permit()?;
        let tool = Tool::open(&self.amqp).await?;
        let mut counted = Vec::new();
        let mut failed = None;
        for queue in &self.queues {
            match tool.count(queue).await {
                Ok(messages) => counted.push((queue.clone(), Some(messages))),
                Err(ParkedError::NoQueue(_)) => counted.push((queue.clone(), None)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        tool.close().await;
        failed.map_or(Ok(counted), Err)
    }

    /// Goes over a queue in a task of its own: it ends in order also when the caller leaves.
    ///
    /// # Errors
    /// Nothing was begun.
    pub(super) async fn walk(
        &self,
        job: Job,
        shown: impl FnMut(&str, &Message, &Facts) -> Value + Send + 'static,
    ) -> Result<Walked, ParkedError> {
        let permit = self.permit()?;
        let stop = self
            .stop
            .get()
            .map_or_else(CancellationToken::new, CancellationToken::child_token);
        let _gone = stop.clone().drop_guard();
        let amqp = self.amqp.clone();
        let walking = async move {
            let _permit = permit;
            let tool = Tool::open(&amqp).await?;
            let walked = walk(&tool, &job, &stop, shown).await;
            tool.close().await;
            Ok(walked)
        };
        let walking = task::spawn(&self.tracker, "parked walk", walking);
        walking.await.unwrap_or_else(|panic| {
            Err(ParkedError::Broker(crate::amqp::Error::Connection(
                panic.to_string(),
            )))
        })
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, ParkedError> {
        let permit = self.permits.clone().try_acquire_owned();
        permit.map_err(|_| ParkedError::Busy)
    }
}

async fn walk(
    tool: &Tool,
    job: &Job,
    stop: &CancellationToken,
    mut shown: impl FnMut(&str, &Message, &Facts) -> Value + Send,
) -> Walked {
    let mut walked = Walked::default();
    let (found, failures) = (&mut walked.found, &mut walked.failures);
    let mut report = |report: Report<'_>| match report {
        Report::Matched(message, facts) => match shown(&job.queue, message, facts) {
            Value::Null => {}
            document => found.push(document),
        },
        Report::Failed { facts, why } if failures.len() < FAILURES => {
            failures.push(json!({ "id": facts.id, "why": why }));
        }
        Report::Failed { .. } | Report::Progress(_) => {}
    };
    let mut walking = Box::pin(tool.walk(job, stop, &mut walked.tally, &mut report));
    let ended = tokio::select! {
        ended = &mut walking => ended,
        () = tokio::time::sleep(CALL_LIMIT) => {
            stop.cancel();
            walking.as_mut().await
        }
    };
    drop(walking);
    walked.error = ended.err();
    walked
}
