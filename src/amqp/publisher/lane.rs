//! A lane: one task, one confirm-mode channel, one window at a time.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Connection, options::ConfirmSelectOptions};
use tokio::{
    sync::{Mutex, Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Gate, Outcome, Request, Unit,
    window::{self, Unsettled},
};
use crate::amqp::error::{Error, bounded};

/// How long opening or closing a channel may take.
const CHANNEL_LIMIT: Duration = Duration::from_secs(5);
/// How long past the last deadline of its window a lane waits before it abandons the channel: a
/// confirm that comes this late helps nobody.
const GRACE: Duration = Duration::from_millis(250);
/// How often a lane renews its channel because of nacks, at most: a full queue nacks all the time.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// The one queue of requests, shared by the lanes: whichever is free takes the next window.
pub(crate) type Requests = Arc<Mutex<mpsc::Receiver<Unit>>>;

/// What a lane needs besides its connection.
#[derive(Clone)]
pub(crate) struct Lane {
    pub requests: Requests,
    pub window: usize,
    pub gate: watch::Receiver<Gate>,
    /// The end of the session.
    pub stop: CancellationToken,
    /// Told of every publish that no queue took: what it addresses may have been deleted.
    pub doubt: Arc<Notify>,
}

impl Lane {
    /// Publishes until the session ends (`Ok`) or the connection is lost.
    pub(crate) async fn run(mut self, connection: Arc<Connection>) -> Result<(), Error> {
        let mut channel = open(&connection).await?;
        let mut opened = Instant::now();
        loop {
            let Some(batch) = self.next_window().await else {
                return Ok(());
            };
            let settled = window::publish(&channel, batch, self.patience()).await;
            let nacked = settled.any(&Outcome::Nacked);
            self.answer_all(settled.settled);
            if let Some(left) = settled.unsettled {
                channel = self.reopen(channel, &connection, left).await?;
                opened = Instant::now();
            } else if nacked && opened.elapsed() >= RENEWAL_PAUSE {
                // RabbitMQ 3.10 nacks whatever goes through a channel that met a quorum queue just
                // after its leader's node was lost, for as long as that node is away; a channel that
                // is opened after the election works.
                abandon(channel).await;
                channel = open(&connection).await?;
                opened = Instant::now();
            }
        }
    }

    /// The next requests, at least one; `None` at the end of the session. A unit of several is
    /// never divided, so there may be more than the window holds.
    async fn next_window(&mut self) -> Option<Vec<Box<Request>>> {
        loop {
            let open = self.gate.wait_for(|gate| *gate == Gate::Open);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                gate = open => drop(gate.ok()?),
            }
            let mut units = Vec::with_capacity(self.window);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                mut queue = self.requests.lock() => tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return None,
                    _ = self.gate.wait_for(|gate| *gate != Gate::Open) => {}
                    taken = queue.recv_many(&mut units, self.window) => if taken == 0 { return None },
                },
            }
            let now = Instant::now();
            // A requester whose time is over has been told that the outcome is unknown; not
            // writing the message is the better half of that.
            let requests = units.into_iter().flat_map(Unit::into_requests);
            let batch: Vec<Box<Request>> =
                requests.filter(|request| request.deadline > now).collect();
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    fn patience(&self) -> window::Patience {
        window::Patience {
            grace: GRACE,
            gate: self.gate.clone(),
            stop: self.stop.clone(),
        }
    }

    /// After the broker closed the channel, or it was given up: a new one, on which what was not
    /// confirmed is repeated one by one, so that a message that the broker refuses harms no other.
    async fn reopen(
        &mut self,
        old: Channel,
        connection: &Arc<Connection>,
        left: Unsettled,
    ) -> Result<Channel, Error> {
        let repeat = left.repeat.into_iter();
        if !connection.status().connected() {
            repeat.for_each(|request| request.answer(Outcome::Unknown));
            return Err(Error::Connection("the connection was lost".to_owned()));
        }
        abandon(old).await;
        let mut channel = open(connection).await;
        for request in repeat {
            let Ok(open_channel) = &channel else {
                request.answer(Outcome::Unknown);
                continue;
            };
            let alone = window::publish(open_channel, vec![request], self.patience()).await;
            if let Some(culprit) = alone.unsettled {
                for request in culprit.repeat {
                    self.answer(request, blame(culprit.reason.as_ref()));
                }
                if let Some(old) = channel.ok().filter(|channel| channel.status().connected()) {
                    abandon(old).await;
                }
                channel = open(connection).await;
            }
            self.answer_all(alone.settled);
        }
        channel
    }

    fn answer_all(&self, settled: Vec<(Box<Request>, Outcome)>) {
        for (request, outcome) in settled {
            self.answer(request, outcome);
        }
    }

    fn answer(&self, request: Box<Request>, outcome: Outcome) {
        if outcome == Outcome::Unroutable {
            self.doubt.notify_one();
        }
        request.answer(outcome);
    }
}

/// What the broker's closing of the channel says about the only publish that was on it.
fn blame(reason: Option<&(u16, String)>) -> Outcome {
    match reason {
        Some((404, _)) => Outcome::Unroutable,
        Some((406 | 311, text)) if text.contains("message size") || text.contains("too large") => {
            Outcome::TooLarge
        }
        Some((_, text)) => Outcome::Refused(text.clone()),
        None => Outcome::Unknown,
    }
}

async fn open(connection: &Connection) -> Result<Channel, Error> {
    let channel = bounded(
        CHANNEL_LIMIT,
        "opening a channel",
        connection.create_channel(),
    )
    .await?;
    let confirm = channel.confirm_select(ConfirmSelectOptions::default());
    bounded(CHANNEL_LIMIT, "selecting confirms", confirm).await?;
    Ok(channel)
}

/// Closes a channel whose confirms no longer matter. Failing to do so changes nothing: the channel
/// is not used again, and ends with its connection at the latest.
async fn abandon(channel: Channel) {
    if channel.status().connected() {
        let closing = channel.close(200, "abandoned".into());
        drop(bounded(CHANNEL_LIMIT, "closing a channel", closing).await);
    }
}
