//! What becomes of a message after its call: a decision without input, output or a clock.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::client::CallError;
use crate::{
    config::model::{Failure, Retry},
    policy::StatusSet,
};

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    Answered {
        status: StatusCode,
        /// What the backend asks for with `Retry-After`.
        retry_after: Option<Duration>,
    },
    Failed(CallError),
}

/// What to do with a message whose attempt was no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Retry { delay: Duration },
    Park { reason: Reason },
}

/// Why a message is parked, in one word for its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The backend answered with a status that another attempt would not change.
    Rejected,
    /// It has had its last attempt.
    Exhausted,
    /// No request could be made of it.
    Unforwardable,
}

impl Attempt {
    /// From a response's head; `now` gives a date in `Retry-After` its meaning.
    pub(super) fn answered(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        Self::Answered {
            status,
            retry_after: retry_after(headers, now),
        }
    }

    pub(super) fn is_success(&self, success: &StatusSet) -> bool {
        self.status().is_some_and(|status| success.contains(status))
    }

    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::Failed(_) => None,
        }
    }

    /// For headers and logs.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Answered { status, .. } => format!("status {}", status.as_u16()),
            Self::Failed(error) => error.to_string(),
        }
    }
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Unforwardable => "unforwardable",
        }
    }
}

/// Decides after an attempt without success. `attempts` counts this one too; `age` is the time since
/// the first failure, zero when this is the first.
pub(super) fn decide(
    attempt: &Attempt,
    failure: &Failure,
    attempts: u32,
    age: Duration,
) -> Decision {
    let at_least = match attempt {
        Attempt::Answered {
            status,
            retry_after,
        } => {
            let retryable = |retry: &Retry| retry.on.contains(*status);
            if !failure.retry.as_ref().is_some_and(retryable) {
                let reason = Reason::Rejected;
                return Decision::Park { reason };
            }
            *retry_after
        }
        Attempt::Failed(_) => None,
    };
    let reason = Reason::Exhausted;
    failure
        .retry
        .as_ref()
        .and_then(|retry| retry.schedule.next(attempts, age, at_least))
        .map_or(Decision::Park { reason }, |delay| Decision::Retry { delay })
}

/// Seconds or a date (RFC 9110 10.2.3); a date that has passed asks for nothing.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than fit are more than any schedule has.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{config::model::Park, policy::Schedule};

    fn failure(delays: &[u64]) -> Failure {
        let delays = delays.iter().copied().map(Duration::from_secs).collect();
        Failure {
            retry: Schedule::new(delays, None).map(|schedule| Retry {
                schedule,
                on: StatusSet::retryable(),
            }),
            park: Park::Drop,
        }
    }

    fn answered(status: u16, retry_after: Option<u64>) -> Attempt {
        Attempt::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn decided(attempt: &Attempt, delays: &[u64], attempts: u32) -> Decision {
        assert!(!attempt.is_success(&StatusSet::success()));
        decide(attempt, &failure(delays), attempts, Duration::ZERO)
    }

    fn retry(seconds: u64) -> Decision {
        Decision::Retry {
            delay: Duration::from_secs(seconds),
        }
    }

    fn park(reason: Reason) -> Decision {
        Decision::Park { reason }
    }

    #[test]
    fn only_success_is_success() {
        for status in [200, 201, 204, 299] {
            let attempt = answered(status, None);
            assert!(attempt.is_success(&StatusSet::success()), "{status}");
        }
        for status in [301, 304, 400, 401, 404, 409, 410, 422] {
            let decision = decided(&answered(status, None), &[1], 1);
            assert_eq!(decision, park(Reason::Rejected), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(
                decided(&answered(status, None), &[1], 1),
                retry(1),
                "{status}"
            );
        }
    }

    #[test]
    fn a_call_without_an_answer_is_retried_until_the_schedule_ends() {
        for error in [
            CallError::Timeout(Duration::from_secs(1)),
            CallError::Connect("refused".into()),
            CallError::Broken("reset".into()),
        ] {
            let attempt = Attempt::Failed(error);
            assert_eq!(decided(&attempt, &[1, 5], 1), retry(1));
            assert_eq!(decided(&attempt, &[1, 5], 2), retry(5));
            assert_eq!(decided(&attempt, &[1, 5], 3), park(Reason::Exhausted));
            assert_eq!(decided(&attempt, &[], 1), park(Reason::Exhausted));
        }
    }

    #[test]
    fn retry_after_takes_the_next_tier_that_is_long_enough() {
        assert_eq!(decided(&answered(503, Some(7)), &[1, 10, 60], 1), retry(10));
        assert_eq!(
            decided(&answered(503, Some(600)), &[1, 10, 60], 1),
            retry(60)
        );
        assert_eq!(decided(&answered(503, Some(0)), &[1, 10, 60], 2), retry(10));
        // What is not retried is not retried because it asks to be.
        assert_eq!(
            decided(&answered(404, Some(7)), &[1], 1),
            park(Reason::Rejected)
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let later = httpdate::fmt_http_date(now + Duration::from_secs(90));
        let earlier = httpdate::fmt_http_date(now - Duration::from_secs(90));
        let cases = [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("99999999999999999999", Some(u64::MAX)),
            (&later, Some(90)),
            (&earlier, Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        }
    }
}
