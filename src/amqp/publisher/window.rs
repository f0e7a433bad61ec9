//! One window: publishes written in order, all their confirms awaited, then the returns matched.
//!
//! Why so: the client library hands a returned message to whichever confirm resolves next, not to
//! its own. A return always precedes its own confirm (AMQP 0-9-1, RabbitMQ's publisher confirms),
//! so once *every* confirm of a window has resolved, every return of that window has been handed
//! out to one of them, and the private id that each message carries says whose it is.

use std::{
    collections::HashSet,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use lapin::{
    BasicProperties, Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions,
    types::AMQPValue,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Gate, Outcome, Request};
use crate::{amqp::error::soft_error, message::RETURN_ID};

/// How long a window waits for its confirms.
pub(super) struct Patience {
    /// Added to the latest deadline in the window.
    pub grace: Duration,
    /// While the broker blocks, nothing is written and no confirm is due.
    pub gate: watch::Receiver<Gate>,
    pub stop: CancellationToken,
}

/// What came of a window.
pub(super) struct Settled {
    pub settled: Vec<(Box<Request>, Outcome)>,
    /// Set when the channel cannot be used any more.
    pub unsettled: Option<Unsettled>,
}

impl Settled {
    pub(super) fn any(&self, wanted: &Outcome) -> bool {
        self.settled.iter().any(|(_, outcome)| outcome == wanted)
    }
}

/// What a window left open, when its channel or connection ended under it.
pub(super) struct Unsettled {
    /// Not known to be confirmed: to be repeated under the same message id.
    pub repeat: Vec<Box<Request>>,
    /// The broker's reply code and text, where it closed the channel.
    pub reason: Option<(u16, String)>,
}

/// What is known of one publish when the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confirm {
    Ack,
    Nack,
    Open,
}

/// The confirms of a window as they come in.
struct Ledger {
    confirms: Vec<Confirm>,
    returned: HashSet<usize>,
    reason: Option<(u16, String)>,
    broken: bool,
}

/// How far a publish has come; `F` is the client library's writing of it.
enum Stage<F> {
    Writing(Pin<Box<F>>),
    Written(PublisherConfirm),
    Done,
}

/// Publishes `batch` and settles as much of it as can be known.
///
/// A deadline that passes leaves the channel unusable too: its late confirms would be taken for
/// those of the next window.
pub(super) async fn publish(
    channel: &Channel,
    batch: Vec<Box<Request>>,
    patience: Patience,
) -> Settled {
    let latest = batch.iter().map(|request| request.deadline).max();
    let mut ledger = Ledger::new(batch.len());
    let mut stages = Vec::with_capacity(batch.len());
    for (index, request) in batch.iter().enumerate() {
        let mut stage = Stage::Writing(Box::pin(write(channel, index, request)));
        // The first poll takes the delivery tag and queues the frames, so that polling in order
        // writes in order, without a round trip to the connection's thread for each.
        match futures_util::poll!(pin!(stage.outcome())) {
            Poll::Ready(outcome) => ledger.note(index, outcome),
            Poll::Pending => {}
        }
        stages.push(stage);
    }
    let in_time = tokio::select! {
        () = ledger.fill(&mut stages) => true,
        () = patience.over(latest) => false,
    };
    if !in_time {
        ledger.sweep(&mut stages);
    }
    drop(stages);
    ledger.close(batch, in_time)
}

// === impl Stage ===

impl<F> Stage<F>
where
    F: Future<Output = Result<PublisherConfirm, lapin::Error>>,
{
    fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// What the broker says of the publish. Cancel safe; to be asked until it is known.
    async fn outcome(&mut self) -> Result<Confirmation, lapin::Error> {
        if let Self::Writing(writing) = self {
            match writing.await {
                Ok(confirm) => *self = Self::Written(confirm),
                Err(error) => {
                    *self = Self::Done;
                    return Err(error);
                }
            }
        }
        let Self::Written(confirm) = self else {
            return std::future::pending().await;
        };
        let outcome = confirm.await;
        *self = Self::Done;
        outcome
    }
}

// === impl Ledger ===

impl Ledger {
    fn new(count: usize) -> Self {
        Self {
            confirms: vec![Confirm::Open; count],
            returned: HashSet::new(),
            reason: None,
            broken: false,
        }
    }

    /// Awaits every confirm, the last first: when that is there, so are nearly all others, and the
    /// lane is woken once for the window instead of once for each publish.
    async fn fill<F>(&mut self, stages: &mut [Stage<F>])
    where
        F: Future<Output = Result<PublisherConfirm, lapin::Error>>,
    {
        for (index, stage) in stages.iter_mut().enumerate().rev() {
            if !stage.is_done() {
                self.note(index, stage.outcome().await);
            }
        }
    }

    /// Takes what has come, when the time is over.
    ///
    /// The second look takes returns only. The return of a publish that the first look finds
    /// confirmed may be in the hands of a confirm that came between the two.
    fn sweep<F>(&mut self, stages: &mut [Stage<F>])
    where
        F: Future<Output = Result<PublisherConfirm, lapin::Error>>,
    {
        for (index, stage) in stages.iter_mut().enumerate() {
            if !stage.is_done()
                && let Some(outcome) = stage.outcome().now_or_never()
            {
                self.note(index, outcome);
            }
        }
        for stage in stages.iter_mut().filter(|stage| !stage.is_done()) {
            if let Some(outcome) = stage.outcome().now_or_never() {
                self.take_return(outcome);
            }
        }
    }

    fn note(&mut self, index: usize, outcome: Result<Confirmation, lapin::Error>) {
        let confirm = self.take_return(outcome);
        if let Some(noted) = self.confirms.get_mut(index) {
            *noted = confirm;
        }
    }

    fn take_return(&mut self, outcome: Result<Confirmation, lapin::Error>) -> Confirm {
        let (confirm, returned) = match outcome {
            Ok(Confirmation::Ack(returned)) => (Confirm::Ack, returned),
            Ok(Confirmation::Nack(returned)) => (Confirm::Nack, returned),
            Ok(Confirmation::NotRequested) => (Confirm::Open, None),
            Err(error) => {
                self.broken = true;
                self.reason = self.reason.take().or_else(|| soft_error(&error));
                (Confirm::Open, None)
            }
        };
        if let Some(index) = returned.and_then(|message| return_id(&message.properties)) {
            self.returned.insert(index);
        }
        confirm
    }

    /// Turns what is known into outcomes.
    ///
    /// Where some confirms are missing, a return in hand that belongs to an unconfirmed publish
    /// means that a confirmed one's return may be stuck behind it in the client library: then an
    /// ack proves nothing and those publishes stay open as well.
    fn close(self, batch: Vec<Box<Request>>, in_time: bool) -> Settled {
        let unusable = self.broken || !in_time;
        let acked = |index: &usize| self.confirms.get(*index) == Some(&Confirm::Ack);
        let acks_prove = self.returned.iter().all(acked);
        let mut settled = Vec::with_capacity(batch.len());
        let mut repeat = Vec::new();
        for (index, (request, confirm)) in batch.into_iter().zip(&self.confirms).enumerate() {
            match confirm {
                Confirm::Ack if self.returned.contains(&index) => {
                    settled.push((request, Outcome::Unroutable));
                }
                Confirm::Ack if acks_prove || !unusable => settled.push((request, Outcome::Routed)),
                Confirm::Nack => settled.push((request, Outcome::Nacked)),
                Confirm::Ack | Confirm::Open if in_time => repeat.push(request),
                Confirm::Ack | Confirm::Open => settled.push((request, Outcome::Unknown)),
            }
        }
        let unsettled = unusable.then_some(Unsettled {
            repeat,
            reason: self.reason,
        });
        Settled { settled, unsettled }
    }
}

// === impl Patience ===

impl Patience {
    /// Resolves when waiting longer is of no use.
    async fn over(mut self, latest: Option<Instant>) {
        let deadline = latest.unwrap_or_else(Instant::now) + self.grace;
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep_until(deadline) => {
                // Abandoning the channel would need to write; wait for the alarm to pass.
                let unblocked = self.gate.wait_for(|gate| *gate != Gate::Blocked);
                tokio::select! {
                    _ = unblocked => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
    }
}

fn write(
    channel: &Channel,
    index: usize,
    request: &Request,
) -> impl Future<Output = Result<PublisherConfirm, lapin::Error>> {
    let publish = &request.publish;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    channel.basic_publish(
        publish.exchange.clone(),
        publish.routing_key.clone(),
        options,
        &publish.body,
        with_return_id(&publish.properties, index),
    )
}

/// A copy that carries the id by which its return is known.
///
/// Field by field: the library gives no way to change a table in place, and a copy of the whole
/// would copy the table twice.
fn with_return_id(properties: &BasicProperties, index: usize) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    let id = i32::try_from(index).unwrap_or(i32::MAX);
    headers.insert(RETURN_ID.into(), AMQPValue::LongInt(id));
    let mut copy = BasicProperties::default().with_headers(headers);
    macro_rules! copy {
        ($($get:ident $set:ident),*) => {
            $(if let Some(value) = properties.$get() {
                copy = copy.$set(value.clone());
            })*
        };
    }
    copy!(
        content_type with_content_type, content_encoding with_content_encoding,
        delivery_mode with_delivery_mode, priority with_priority,
        correlation_id with_correlation_id, reply_to with_reply_to,
        expiration with_expiration, message_id with_message_id, timestamp with_timestamp,
        kind with_type, user_id with_user_id, app_id with_app_id, cluster_id with_cluster_id
    );
    copy
}

fn return_id(properties: &BasicProperties) -> Option<usize> {
    match properties.headers().as_ref()?.inner().get(RETURN_ID)? {
        AMQPValue::LongInt(id) => usize::try_from(*id).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    /// A window of three whose confirms and returns are as given; the outcomes of those that are
    /// settled, by index, and how many are left to repeat.
    fn closed(
        confirms: [Confirm; 3],
        returned: &[usize],
        broken: bool,
        in_time: bool,
    ) -> (Vec<(String, Outcome)>, Option<usize>) {
        let batch = (0..3)
            .map(|index| Request::for_test(&index.to_string()))
            .collect();
        let ledger = Ledger {
            confirms: confirms.to_vec(),
            returned: returned.iter().copied().collect(),
            reason: None,
            broken,
        };
        let Settled { settled, unsettled } = ledger.close(batch, in_time);
        let settled = settled
            .into_iter()
            .map(|(request, outcome)| (request.publish.routing_key.to_string(), outcome))
            .collect();
        (settled, unsettled.map(|left| left.repeat.len()))
    }

    fn of(index: usize, outcome: Outcome) -> (String, Outcome) {
        (index.to_string(), outcome)
    }

    /// The library gave the third's return to the first: the ids say whose it is.
    #[test]
    fn returns_are_matched_by_id() {
        let (settled, left) = closed(
            [Confirm::Ack, Confirm::Nack, Confirm::Ack],
            &[2],
            false,
            true,
        );
        assert_eq!(
            settled,
            [
                of(0, Outcome::Routed),
                of(1, Outcome::Nacked),
                of(2, Outcome::Unroutable)
            ]
        );
        assert_eq!(left, None);
    }

    /// What was confirmed before the channel was closed stays so; the rest is repeated.
    #[test]
    fn a_closed_channel_leaves_the_unconfirmed() {
        let (settled, left) = closed(
            [Confirm::Ack, Confirm::Open, Confirm::Ack],
            &[0],
            true,
            true,
        );
        assert_eq!(
            settled,
            [of(0, Outcome::Unroutable), of(2, Outcome::Routed)]
        );
        assert_eq!(left, Some(1));
    }

    #[test]
    fn the_copy_that_is_written_lacks_nothing() {
        let mut table = FieldTable::default();
        table.insert("x".into(), AMQPValue::Boolean(true));
        let whole = BasicProperties::default()
            .with_content_type("1".into())
            .with_content_encoding("2".into())
            .with_delivery_mode(2)
            .with_priority(3)
            .with_correlation_id("4".into())
            .with_reply_to("5".into())
            .with_expiration("6".into())
            .with_message_id("7".into())
            .with_timestamp(8)
            .with_type("9".into())
            .with_user_id("10".into())
            .with_app_id("11".into())
            .with_cluster_id("12".into());
        let copy = with_return_id(&whole.clone().with_headers(table.clone()), 13);
        assert_eq!(return_id(&copy), Some(13));
        table.insert(RETURN_ID.into(), AMQPValue::LongInt(13));
        assert_eq!(copy, whole.with_headers(table));
    }

    /// A return of an unconfirmed publish is in hand: the return of a confirmed one may be stuck
    /// behind it, so no ack proves that its message was routed.
    #[test]
    fn a_foreign_return_makes_acks_doubtful() {
        let (settled, left) = closed(
            [Confirm::Ack, Confirm::Open, Confirm::Ack],
            &[1],
            true,
            true,
        );
        assert_eq!(settled, []);
        assert_eq!(left, Some(3));
    }

    /// Too late to repeat: the requesters have been told, or are about to be.
    #[test]
    fn a_window_out_of_time_is_unknown_where_not_confirmed() {
        let (settled, left) = closed(
            [Confirm::Ack, Confirm::Open, Confirm::Nack],
            &[],
            false,
            false,
        );
        assert_eq!(
            settled,
            [
                of(0, Outcome::Routed),
                of(1, Outcome::Unknown),
                of(2, Outcome::Nacked)
            ]
        );
        assert_eq!(left, Some(0));
    }
}
