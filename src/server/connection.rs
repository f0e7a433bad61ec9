//! The life of one connection: served, watched for idleness, closed politely, cut if need be.

use std::{pin::pin, time::Duration};

use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    activity::{Activity, Seen},
    quiet::Quiet,
};

/// How long a connection that has just been accepted may still send its first request when the
/// server stops: a request that was on its way is answered, not reset.
const GRACE: Duration = Duration::from_millis(100);

/// What is said to a connection from outside.
enum Word {
    Abort,
    Stop,
    /// It is time to see what it is doing.
    Look,
}

/// Serves until the connection is done.
///
/// The HTTP library bounds neither the wait for a connection's first bytes nor an idle HTTP/2
/// connection nor a client that does not read its answer; the look every `patience` bounds all
/// three. A busy connection is never touched by it.
pub(super) async fn drive<C>(
    connection: C,
    activity: &Activity,
    patience: Duration,
    stop: &CancellationToken,
    abort: &CancellationToken,
) where
    C: GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut look = pin!(sleep(patience));
    let mut seen = Seen::default();
    let mut stopping = false;
    let mut leaving = false;
    loop {
        let word = {
            let word = pin!(async {
                tokio::select! {
                    biased;
                    () = abort.cancelled() => Word::Abort,
                    () = stop.cancelled(), if !stopping => Word::Stop,
                    () = look.as_mut() => Word::Look,
                }
            });
            tokio::select! {
                // First, so that what has arrived is read before anything is closed.
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                word = Quiet::new(word) => word,
            }
        };
        match word {
            Word::Abort => return,
            Word::Stop => {
                stopping = true;
                if activity.is_fresh() {
                    look.as_mut().reset(Instant::now() + GRACE);
                } else {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            Word::Look => {
                look.as_mut().reset(Instant::now() + patience);
                let idle = activity.is_idle_since(&mut seen);
                if idle && (leaving || activity.is_fresh()) {
                    return;
                }
                if (idle || stopping) && !leaving {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}
