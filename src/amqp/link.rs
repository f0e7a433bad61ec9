//! One supervised connection: opened, served until it breaks, opened again, for ever.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use lapin::{Connection, Event};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    connect::{Role, connect},
    error::{Error, bounded},
    status::Status,
};
use crate::{config::model::Amqp, policy::Backoff};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A session that has lasted this long was a good one: the next failure starts with the first pause.
const STABLE: Duration = Duration::from_secs(5);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How often a connection's state is looked at, beside the events that should tell of it.
const GLANCE: Duration = Duration::from_millis(500);

/// What keeps one connection.
pub(super) struct Link {
    role: Role,
    config: Arc<Amqp>,
    status: Status,
    stop: CancellationToken,
    backoff: Backoff,
    /// Attempts that have failed since the last success.
    failed: u32,
    /// Whether the next attempt is to wait: always, but for the very first.
    pause: bool,
}

/// What a connection says about itself.
pub(super) enum Notice {
    Blocked(String),
    Unblocked,
    Lost(Error),
}

/// A connection, and the one listener to its events: all listeners of the client library share one
/// receiver, so a second would take events away from this one.
pub(super) struct Session {
    pub connection: Arc<Connection>,
    events: std::pin::Pin<Box<dyn Stream<Item = Event> + Send>>,
    since: Instant,
}

impl Link {
    /// A link that `stop` ends.
    pub(super) fn new(
        role: Role,
        config: Arc<Amqp>,
        status: Status,
        stop: CancellationToken,
    ) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, config.reconnect_max);
        Self {
            role,
            config,
            status,
            stop,
            backoff,
            failed: 0,
            pause: false,
        }
    }

    /// The next session, however long it takes; `None` once the link is stopped.
    pub(super) async fn next_session(&mut self) -> Option<Session> {
        loop {
            if self.pause {
                tokio::select! {
                    () = self.stop.cancelled() => return None,
                    () = tokio::time::sleep(self.backoff.next_pause()) => {}
                }
            }
            self.pause = true;
            if self.stop.is_cancelled() {
                return None;
            }
            if let Some(session) = self.open().await {
                return Some(session);
            }
        }
    }

    /// Notes why a session is over, and closes what is left of it.
    pub(super) async fn end(&mut self, session: Session, why: Error) {
        self.status.link_down(self.role, why.to_string());
        if session.since.elapsed() >= STABLE {
            self.backoff.reset();
        }
        session.close().await;
        if !self.stop.is_cancelled() {
            tracing::warn!(connection = self.role.as_str(), error = %why, "broker connection lost");
        }
    }

    /// Resolves when the link is to end.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Tries every URL once.
    async fn open(&mut self) -> Option<Session> {
        let config = self.config.clone();
        for url in &config.urls {
            let connecting = connect(&config, url, self.role);
            let connected = tokio::select! {
                () = self.stop.cancelled() => return None,
                connected = connecting => connected,
            };
            match connected {
                Ok(connection) => {
                    self.failed = 0;
                    tracing::info!(connection = self.role.as_str(), broker = %url, "broker connected");
                    self.status.link_connected(self.role);
                    let events = Box::pin(connection.events_listener());
                    let connection = Arc::new(connection);
                    return Some(Session {
                        connection,
                        events,
                        since: Instant::now(),
                    });
                }
                Err(error) => {
                    self.failed = self.failed.saturating_add(1);
                    self.status.link_down(self.role, format!("{url}: {error}"));
                    // The first failures say what is wrong; after that now and then is enough.
                    if self.failed.is_power_of_two() {
                        tracing::warn!(
                            connection = self.role.as_str(), broker = %url, %error, attempt = self.failed,
                            "cannot connect to the broker, trying again"
                        );
                    }
                }
            }
        }
        None
    }
}

impl Session {
    /// The next thing the connection has to say. Cancel safe.
    pub(super) async fn notice(&mut self) -> Notice {
        loop {
            let event = tokio::select! {
                event = self.events.next() => event,
                () = tokio::time::sleep(GLANCE) => {
                    if self.connection.status().connected() {
                        continue;
                    }
                    None
                }
            };
            match event {
                Some(Event::ConnectionBlocked(why)) => return Notice::Blocked(why),
                Some(Event::ConnectionUnblocked) => return Notice::Unblocked,
                Some(Event::Error(error)) if !self.connection.status().connected() => {
                    return Notice::Lost(error.into());
                }
                Some(_) => {}
                None => {
                    return Notice::Lost(Error::Connection("the connection was lost".to_owned()));
                }
            }
        }
    }

    /// Resolves when the connection is of no more use. Cancel safe.
    pub(super) async fn lost(&mut self) -> Error {
        loop {
            if let Notice::Lost(error) = self.notice().await {
                return error;
            }
        }
    }

    async fn close(self) {
        if self.connection.status().connected() {
            let closing = self.connection.close(200, "goodbye".into());
            drop(bounded(CLOSE_LIMIT, "closing the connection", closing).await);
        }
    }
}
