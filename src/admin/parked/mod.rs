//! Parked messages over HTTP: the same as `hareway parked`.
//!
//! Each call has connections of its own, so that it disturbs nothing that runs, and is bounded:
//! few at once, and each in messages and in time. A client that leaves ends its call in order.

mod order;
mod work;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::{
    order::{Order, Wanted},
    work::{Walked, Work},
};
use super::{
    json as page,
    order::decoded,
    pages::{Found, ParkedPage},
};
use crate::{
    amqp::parked::{Deed, Destination, Facts, Job, NoWay, ParkedError, Tally, document},
    buffer::Buffer,
    config::Config,
    message::Message,
    server::{Kind, Problem, Response},
    telemetry::Metrics,
};

/// What stands behind `/parked`.
pub(super) struct Parked {
    work: Work,
    buffer: Buffer,
    metrics: Metrics,
}

impl Parked {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Self {
        Self {
            work: Work::new(config),
            buffer: super::order::room(),
            metrics: metrics.clone(),
        }
    }

    /// From now on calls end when `stop` says so.
    pub(super) fn follow(&self, stop: &CancellationToken) {
        self.work.follow(stop);
    }

    /// Resolves when no call is under way any more, within a few seconds.
    pub(super) async fn finish(&self) {
        self.work.finish().await;
    }

    pub(super) async fn respond(
        &self,
        which: ParkedPage,
        found: Found,
        request: Request<Incoming>,
    ) -> Response {
        let answered = match which {
            ParkedPage::Queues => self.queues().await,
            ParkedPage::Messages => self.messages(&found, &request).await,
            ParkedPage::Message => self.message(&found).await,
            ParkedPage::Replay | ParkedPage::Discard => {
                let order = match self.order(request).await {
                    Ok(order) => order,
                    Err(refused) => return *refused,
                };
                match which {
                    ParkedPage::Replay => self.replay(&found, order).await,
                    _ => self.discard(&found, order).await,
                }
            }
        };
        match answered {
            Ok(document) => page(StatusCode::OK, &document),
            Err(problem) => problem.into_response(),
        }
    }

    async fn queues(&self) -> Result<Value, Problem> {
        let counted = self.work.count().await.map_err(|error| problem(&error))?;
        let queues = counted.into_iter().map(|(queue, messages)| {
            json!({ "queue": queue, "exists": messages.is_some(), "messages": messages })
        });
        Ok(json!({ "queues": queues.collect::<Vec<_>>() }))
    }

    async fn messages(&self, found: &Found, request: &Request<Incoming>) -> Result<Value, Problem> {
        let wanted = Wanted::from_query(request.uri().query().unwrap_or_default())?;
        let queue = decoded(&found.queue)?;
        let job = Job {
            filter: wanted.filter()?,
            limit: Some(wanted.limit(100)?),
            deed: Deed::Look,
            queue: queue.clone(),
        };
        let walked = self.walk(job, document_of_entry).await?;
        Ok(json!({ "queue": queue, "tally": walked.tally, "messages": walked.found }))
    }

    async fn message(&self, found: &Found) -> Result<Value, Problem> {
        let id = decoded(&found.id)?;
        let wanted = Wanted {
            ids: vec![id.clone()],
            ..Wanted::default()
        };
        let job = Job {
            filter: wanted.filter()?,
            limit: Some(1),
            deed: Deed::Look,
            queue: decoded(&found.queue)?,
        };
        let walked = self.walk(job, document::whole).await?;
        let first = walked.found.into_iter().next();
        first.ok_or_else(|| Problem::new(Kind::NotFound, format!("no message has the id `{id}`")))
    }

    async fn replay(&self, found: &Found, order: Order) -> Result<Value, Problem> {
        let (to, pace) = (order.to()?, order.pace()?);
        let queue = decoded(&found.queue)?;
        let deed = match order.dry_run {
            true => Deed::Look,
            false => Deed::Replay {
                to: to.clone(),
                pace,
            },
        };
        let job = order.job(queue.clone(), deed)?;
        if order.dry_run {
            let shown = move |queue: &str, message: &Message, facts: &Facts| {
                way(&to, message, facts, queue, &document::entry(queue, facts))
            };
            let mut walked = self.walk(job, shown).await?;
            let lost = walked.found.iter().filter(|found| found["to"].is_null());
            walked.tally.failed = lost.count() as u64;
            return Ok(walked.into_document(true));
        }
        let walked = self.begin(job, |_, _, _| Value::Null).await?;
        let Tally {
            replayed, failed, ..
        } = walked.tally;
        self.metrics
            .replayed(self.work.label(&queue), replayed, failed);
        tracing::info!(queue, replayed, failed, "parked messages replayed");
        let walked = done(walked)?;
        Ok(walked.into_document(false))
    }

    async fn discard(&self, found: &Found, order: Order) -> Result<Value, Problem> {
        order.without_way()?;
        let deed = match order.dry_run {
            true => Deed::Look,
            false => Deed::Discard,
        };
        let queue = decoded(&found.queue)?;
        let job = order.job(queue.clone(), deed)?;
        let walked = match order.dry_run {
            true => self.walk(job, document_of_entry).await?,
            false => self.walk(job, |_, _, _| Value::Null).await?,
        };
        if !order.dry_run {
            let Tally {
                discarded, unknown, ..
            } = walked.tally;
            tracing::info!(queue, discarded, unknown, "parked messages discarded");
        }
        Ok(walked.into_document(order.dry_run))
    }

    async fn walk(
        &self,
        job: Job,
        shown: impl FnMut(&str, &Message, &Facts) -> Value + Send + 'static,
    ) -> Result<Walked, Problem> {
        done(self.begin(job, shown).await?)
    }

    async fn begin(
        &self,
        job: Job,
        shown: impl FnMut(&str, &Message, &Facts) -> Value + Send + 'static,
    ) -> Result<Walked, Problem> {
        let walked = self.work.walk(job, shown).await;
        walked.map_err(|error| problem(&error))
    }

    async fn order(&self, request: Request<Incoming>) -> Result<Order, Box<Response>> {
        let bytes = super::order::read(request, &self.buffer).await?;
        Order::read(&bytes).map_err(|problem| Box::new(problem.into_response()))
    }
}

/// A walk that failed before it had done anything is a problem; after that it is an answer with an
/// `error`, for the caller must know what was done.
fn done(mut walked: Walked) -> Result<Walked, Problem> {
    let Some(error) = walked.error.take() else {
        return Ok(walked);
    };
    let Tally {
        replayed,
        discarded,
        unknown,
        ..
    } = walked.tally;
    if replayed + discarded + unknown == 0 {
        return Err(problem(&error));
    }
    walked.said = Some(problem(&error).detail);
    Ok(walked)
}

fn document_of_entry(queue: &str, _: &Message, facts: &Facts) -> Value {
    document::entry(queue, facts)
}

/// An entry with where it would go, or why nowhere.
fn way(to: &Destination, message: &Message, facts: &Facts, queue: &str, entry: &Value) -> Value {
    match to.way(message, facts, queue) {
        Ok(way) => json!({
            "message": entry,
            "to": { "exchange": way.exchange.as_str(), "routing_key": way.routing_key.as_str() },
        }),
        Err(no_way @ (NoWay::NoOrigin | NoWay::Itself | NoWay::TooLong)) => {
            json!({ "message": entry, "to": null, "why": no_way.to_string() })
        }
    }
}

/// What the caller hears; the broker's own words stay in the log.
fn problem(error: &ParkedError) -> Problem {
    let kind = match error {
        ParkedError::NoQueue(_) => Kind::NotFound,
        ParkedError::Exclusive(_) | ParkedError::Stream(_) | ParkedError::NoLook(_) => {
            Kind::BadRequest
        }
        ParkedError::Busy => Kind::Overloaded,
        ParkedError::Stalled { .. } | ParkedError::Publish(_) | ParkedError::Failures(_) => {
            Kind::BrokerUnavailable
        }
        ParkedError::Broker(error) => {
            tracing::warn!(%error, "a look at parked messages failed");
            let detail = "the broker cannot be reached, or ended the work; the log says more";
            return Problem::new(Kind::BrokerUnavailable, detail);
        }
    };
    Problem::new(kind, error.to_string())
}
