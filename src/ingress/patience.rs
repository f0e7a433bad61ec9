//! How long a call waits for the disk.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::store::Refused;

/// The longest that a call waits for one answer of the store. A disk that is only busy answers
/// sooner; one that hangs must not keep callers.
pub(super) const STORE_LIMIT: Duration = Duration::from_secs(10);

/// What the store answers; once the time is over it is not known what becomes of the request: it may
/// stand in line for the disk, and is done when the disk is back.
pub(super) async fn within<T>(
    answer: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    timeout(STORE_LIMIT, answer).await.unwrap_or_else(|_| {
        let silent = format!("it did not answer within {STORE_LIMIT:?}");
        Err(Refused::Unknown(silent))
    })
}
