//! The connections of one look at parked messages: its own, so that it disturbs no bridge and
//! works without one.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use lapin::{Connection, Event};
use tokio::sync::{Mutex, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Holding;
use crate::{
    amqp::{
        connect::{Role, connect},
        error::{Error, bounded},
        publisher::{Gate, Lane, Publisher},
    },
    config::model::Amqp,
    task,
};

const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Copies handed to the lane and not yet confirmed.
const IN_FLIGHT: usize = 1024;

/// A tool at a broker. [`Tool::close`] it: dropped, it leaves that to the client library.
pub struct Tool {
    /// Takes and settles.
    pub(super) connection: Connection,
    /// Publishes on a connection of its own: a broker under an alarm must not hold back
    /// acknowledgements.
    pub(super) publisher: Publisher,
    pub(super) holding: Holding,
    publishing: Arc<Connection>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tool {
    /// Connects to the first broker that answers.
    ///
    /// # Errors
    /// What the last of them said.
    pub async fn open(config: &Amqp) -> Result<Self, Error> {
        let config = Amqp {
            instance: format!("{} (parked messages)", config.instance),
            ..config.clone()
        };
        let mut last = Error::Connection("no broker is configured".to_owned());
        for url in &config.urls {
            let connecting = async {
                let taking = connect(&config, url, Role::Consume).await?;
                let publishing = connect(&config, url, Role::Publish).await?;
                Ok::<_, Error>((taking, publishing))
            };
            match connecting.await {
                Ok((taking, publishing)) => return Ok(Self::start(&config, taking, publishing)),
                Err(error) => last = Error::Connection(format!("{url}: {error}")),
            }
        }
        Err(last)
    }

    fn start(config: &Amqp, connection: Connection, publishing: Connection) -> Self {
        let (gate, state) = watch::channel(Gate::Open);
        let (publisher, requests) = Publisher::new(IN_FLIGHT, state.clone());
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let watching = follow(Box::pin(publishing.events_listener()), gate, stop.clone());
        task::spawn(&tracker, "parked broker events", watching);
        let publishing = Arc::new(publishing);
        // One lane, so that messages keep their order.
        let lane = Lane {
            requests: Arc::new(Mutex::new(requests)),
            window: config.window,
            gate: state,
            stop: stop.clone(),
            // Nobody looks after the topology here.
            doubt: Arc::default(),
        };
        let connection_of_lane = publishing.clone();
        let run = async move {
            if let Err(error) = lane.run(connection_of_lane).await {
                tracing::debug!(%error, "replays cannot go on");
            }
        };
        task::spawn(&tracker, "parked lane", run);
        Self {
            connection,
            publisher,
            holding: Holding::default(),
            publishing,
            stop,
            tracker,
        }
    }

    /// Holds messages for so long and no longer.
    #[must_use]
    pub fn holding(self, holding: Holding) -> Self {
        Self { holding, ..self }
    }

    /// Ends both connections in order.
    pub async fn close(self) {
        self.stop.cancel();
        self.tracker.close();
        drop(tokio::time::timeout(CLOSE_LIMIT, self.tracker.wait()).await);
        for connection in [&self.connection, &*self.publishing] {
            if connection.status().connected() {
                let closing = connection.close(200, "goodbye".into());
                drop(bounded(CLOSE_LIMIT, "closing the connection", closing).await);
            }
        }
    }
}

/// Shuts the gate while the broker blocks publishers.
async fn follow(
    mut events: std::pin::Pin<Box<dyn Stream<Item = Event> + Send>>,
    gate: watch::Sender<Gate>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(_)) => drop(gate.send_replace(Gate::Blocked)),
                Some(Event::ConnectionUnblocked) => drop(gate.send_replace(Gate::Open)),
                Some(_) => {}
                None => {
                    gate.send_replace(Gate::Down);
                    return;
                }
            },
        }
    }
}
