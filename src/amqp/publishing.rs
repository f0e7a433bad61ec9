//! The publish connection: its lanes, and what the broker says of blocking.

use std::time::Duration;

use tokio::{sync::watch, task::JoinSet};

use super::{
    Status,
    error::Error,
    link::{Link, Notice, Session},
    publisher::{Lane, Outcome, Requests},
};

const LANES_END: Duration = Duration::from_secs(6);

pub(super) struct Publishing {
    pub link: Link,
    pub status: Status,
    /// What every lane of every session begins with.
    pub lane: Lane,
    pub lanes: usize,
    /// Whether what publishes address has been found or made.
    pub topology_found: watch::Receiver<bool>,
}

impl Publishing {
    /// Until the link is stopped.
    pub(super) async fn run(mut self) {
        while let Some(mut session) = self.link.next_session().await {
            let why = self.serve(&mut session).await;
            self.status.close_gate();
            refuse(&self.lane.requests).await;
            self.link.end(session, why).await;
        }
        refuse(&self.lane.requests).await;
    }

    async fn serve(&mut self, session: &mut Session) -> Error {
        // What publishes address must be there first, or they would be returned.
        tokio::select! {
            _ = self.topology_found.wait_for(|found| *found) => {}
            error = session.lost() => return error,
            () = self.link.stopped() => return Error::Stopped,
        }
        let stop = tokio_util::sync::CancellationToken::new();
        let lane = Lane {
            stop,
            ..self.lane.clone()
        };
        tokio::select! {
            why = serve_lanes(session, &lane, self.lanes, &self.status) => why,
            () = self.link.stopped() => Error::Stopped,
        }
    }
}

async fn serve_lanes(session: &mut Session, lane: &Lane, lanes: usize, status: &Status) -> Error {
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        running.spawn(lane.clone().run(session.connection.clone()));
    }
    status.open_gate();
    let why = loop {
        tokio::select! {
            notice = session.notice() => match notice {
                Notice::Blocked(why) => {
                    tracing::warn!(reason = why, "broker blocks publishers");
                    status.blocked(Some(why));
                }
                Notice::Unblocked => {
                    tracing::info!("broker unblocks publishers");
                    status.blocked(None);
                }
                Notice::Lost(error) => break error,
            },
            Some(ended) = running.join_next() => match ended {
                Ok(Ok(())) => break Error::Stopped,
                Ok(Err(error)) => break error,
                Err(panic) => break Error::Connection(panic.to_string()),
            },
        }
    };
    status.close_gate();
    lane.stop.cancel();
    let all = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(LANES_END, all).await.is_err() {
        running.shutdown().await;
    }
    why
}

/// Answers what no lane has taken: it was never written.
async fn refuse(requests: &Requests) {
    let mut queue = requests.lock().await;
    while let Ok(unit) = queue.try_recv() {
        for request in unit.into_requests() {
            request.answer(Outcome::Unavailable);
        }
    }
}
