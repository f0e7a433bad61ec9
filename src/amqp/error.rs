//! What can go wrong between this process and the broker.

use std::{path::PathBuf, time::Duration};

use lapin::{ErrorKind, protocol::AMQPErrorKind};

/// Why something at the broker did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no answer from the broker within {0:?} while {1}")]
    Timeout(Duration, &'static str),
    /// The broker refused one thing; the connection goes on (AMQP 0-9-1 §4.10, soft errors).
    #[error("{0}")]
    Channel(String),
    #[error("{0}")]
    Connection(String),
    #[error("shutting down")]
    Stopped,
    #[error("cannot read {path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} holds no certificate in PEM form")]
    NoCertificate { path: PathBuf },
    #[error("`{0}` is longer than 255 bytes")]
    NameTooLong(String),
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(amqp) if error.is_amqp_soft_error() => {
                Self::Channel(format!("the broker refused: {}", amqp.get_message()))
            }
            ErrorKind::ProtocolError(amqp) => Self::Connection(format!(
                "the broker closed the connection: {}",
                amqp.get_message()
            )),
            ErrorKind::MissingHeartbeatError => {
                Self::Connection("the broker has been silent for two heartbeats".to_owned())
            }
            _ => Self::Connection(error.to_string()),
        }
    }
}

/// The soft error (AMQP 0-9-1 §4.10) that closed a channel: its reply code and text.
pub(super) fn soft_error(error: &lapin::Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) if matches!(amqp.kind(), AMQPErrorKind::Soft(_)) => {
            Some((amqp.get_id(), amqp.get_message().to_string()))
        }
        _ => None,
    }
}

/// Awaits `future` for at most `limit`: no wait on the client library is left unbounded, as several
/// of them have been seen to hang when the connection dies under them.
pub(super) async fn bounded<T, E: Into<Error>>(
    limit: Duration,
    doing: &'static str,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Error::Timeout(limit, doing)),
    }
}
