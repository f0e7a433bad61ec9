//! Messages that ask for a reply: the backend's response, whatever it is, goes to `reply_to`.
//!
//! They are never retried: whoever asked has a deadline, and an answer of 502 or 504 in time is
//! worth more than a good one too late.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lapin::types::ShortString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    call,
    client::{self, CallError, Deadline},
    forwarder::{Job, Worker},
    gate::seconds_up,
    turn::{Down, Leave},
};
use crate::{
    amqp::Outcome,
    config::model::HeaderRules,
    message::{MessageValues, Publish, reply},
};

/// What the caller will get.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// Whether the backend gave it, so that the route's rules apply.
    from_backend: bool,
}

impl Worker {
    /// Calls the backend, publishes the answer, and acknowledges the message after that.
    pub(super) async fn answer(
        &self,
        job: Box<Job>,
        reply_to: ShortString,
        drain: &CancellationToken,
    ) {
        let answer = match self.ask(&job, drain).await {
            Ok(answer) => answer,
            Err(leave) => return self.leave(job, leave).await,
        };
        let publish = self.reply(&job, &reply_to, answer);
        // No other attempt changes these: the caller has gone, or may not be answered, or the
        // reply is too large, which is answered below.
        let final_outcome = |outcome: &Outcome| {
            matches!(
                outcome,
                Outcome::Unroutable | Outcome::Refused(_) | Outcome::TooLarge
            )
        };
        let mut outcome = self.publish(publish, &job, final_outcome).await;
        if outcome == Some(Outcome::TooLarge) {
            let answer = Answer::problem(
                StatusCode::BAD_GATEWAY,
                "the response is larger than the broker allows",
            );
            let publish = self.reply(&job, &reply_to, answer);
            outcome = self.publish(publish, &job, final_outcome).await;
        }
        match outcome {
            Some(Outcome::Routed) => {
                self.delivered.remember(&job.message);
                job.settle.ack();
                self.metrics.delivery("replied");
            }
            Some(outcome) => {
                warn!(
                    route = &*self.name,
                    queue = self.deliver.source.queue,
                    message_id = job.id.as_str(),
                    reply_to = reply_to.as_str(),
                    outcome = outcome.label(),
                    "reply dropped, nobody can receive it"
                );
                job.settle.ack();
                self.metrics.delivery("dropped");
            }
            None => self.metrics.delivery("requeued"),
        }
    }

    /// The backend's response, or what is said in its place.
    async fn ask(&self, job: &Job, drain: &CancellationToken) -> Result<Answer, Leave> {
        let call = match call::build(&self.deliver, &job.message, job.id.as_str()) {
            Ok(call) => call,
            Err(error) => return Ok(self.failed(job, StatusCode::BAD_GATEWAY, &error)),
        };
        let pass = match self.guards.turn_now(job, drain).await? {
            Ok(pass) => pass,
            Err(down) => return Ok(Answer::down(down)),
        };
        let target = &self.deliver.target;
        let deadline = Deadline::after(target.timeout);
        let begun = Instant::now();
        let response = async {
            let (head, body) = self.call(call, deadline, pass).await.response?.into_parts();
            let body = client::collect(body, target.response_limit, deadline).await?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
                from_backend: true,
            })
        };
        let response: Result<Answer, CallError> = response.await;
        self.observe(begun);
        Ok(response.unwrap_or_else(|error| {
            let status = match error {
                CallError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
                CallError::Connect(_) | CallError::Broken(_) | CallError::TooLarge(_) => {
                    StatusCode::BAD_GATEWAY
                }
            };
            self.failed(job, status, &error)
        }))
    }

    /// Logs what the operator should know; the caller is told less.
    fn failed(&self, job: &Job, status: StatusCode, error: &dyn std::fmt::Display) -> Answer {
        warn!(
            route = &*self.name,
            queue = self.deliver.source.queue,
            message_id = job.id.as_str(),
            status = status.as_u16(),
            %error,
            "no response from the backend, the caller is told so"
        );
        let detail = match status {
            StatusCode::GATEWAY_TIMEOUT => "the backend did not answer in time",
            _ => "the backend gave no usable answer",
        };
        Answer::problem(status, detail)
    }

    fn reply(&self, job: &Job, reply_to: &ShortString, answer: Answer) -> Publish {
        let rules = &self.deliver.reply_headers;
        let none = HeaderRules::default();
        let (rules, set) = if answer.from_backend {
            let values = MessageValues::new(&job.message);
            let set = call::rendered(rules, &values).unwrap_or_else(|_| {
                self.metrics.skipped_headers.inc();
                Vec::new()
            });
            (rules, set)
        } else {
            (&none, Vec::new())
        };
        let Answer {
            status, headers, ..
        } = &answer;
        let (properties, skipped) = reply::properties(*status, headers, rules, &set, &job.message);
        self.metrics.skipped_headers.inc_by(skipped);
        Publish {
            exchange: ShortString::default(),
            routing_key: reply_to.clone(),
            properties,
            body: answer.body,
        }
    }
}

impl Answer {
    /// The backend counts as down, so it was not asked.
    fn down(Down { until }: Down) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut answer = Self::problem(status, "the backend is down, it was not asked");
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let seconds = left.map_or(1, |left| seconds_up(left).max(1));
        let headers = &mut answer.headers;
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        answer
    }

    /// A problem document (RFC 9457).
    fn problem(status: StatusCode, detail: &str) -> Self {
        let (kind, title) = match status {
            StatusCode::GATEWAY_TIMEOUT => ("backend-timeout", "The backend took too long"),
            _ => ("backend-unavailable", "The backend could not be asked"),
        };
        let body = serde_json::json!({
            "type": format!("urn:hareway:{kind}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
        });
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        Self {
            status,
            headers,
            body: Bytes::from(body.to_string()),
            from_backend: false,
        }
    }
}
