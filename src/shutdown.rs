//! Signals, and the two wishes they stand for: to end in order, and to end at once.

use tokio_util::sync::CancellationToken;

/// What a running bridge is asked to do; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Finish what has begun, then end.
    pub graceful: CancellationToken,
    /// End now, whatever is left.
    pub immediate: CancellationToken,
}

impl Shutdown {
    /// Follows SIGTERM and SIGINT for as long as it is polled: the first asks for a graceful end,
    /// the second for an immediate one.
    ///
    /// # Errors
    /// The process cannot install signal handlers.
    pub async fn follow_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for token in [&self.graceful, &self.immediate] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
            token.cancel();
        }
        Ok(())
    }
}
