//! How long a message may be held unacknowledged before its call.

use std::time::Duration;

/// RabbitMQ closes a channel whose oldest delivery is unacknowledged for this long, and takes all its
/// deliveries back; its default `consumer_timeout`.
pub const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The longest wait for whatever reason, a backend that is down included.
pub const HOLD: Duration = Duration::from_secs(12 * 60);
/// The longest wait for a turn at a slow pace: a third of the broker's patience.
const TURN: Duration = Duration::from_secs(10 * 60);

/// How long a message is held at most, where its call may take `timeout`: together they must not come
/// to the broker's limit.
pub fn hold(timeout: Duration) -> Duration {
    HOLD.min(half_of_the_rest(timeout))
}

/// How long a message should wait for its turn at most, before it is held too long.
pub fn turn(timeout: Duration) -> Duration {
    TURN.min(half_of_the_rest(timeout))
}

fn half_of_the_rest(timeout: Duration) -> Duration {
    CONSUMER_TIMEOUT.saturating_sub(timeout) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a call may take, a turn ends before the hold, and hold and call before the broker's
    /// limit.
    #[test]
    fn a_turn_and_its_call_fit_into_the_brokers_patience() {
        for minutes in 0..30 {
            let timeout = Duration::from_secs(minutes * 60);
            assert!(turn(timeout) <= hold(timeout));
            assert!(hold(timeout) + timeout < CONSUMER_TIMEOUT);
        }
        assert_eq!(turn(Duration::from_secs(20 * 60)), Duration::from_secs(300));
    }
}
