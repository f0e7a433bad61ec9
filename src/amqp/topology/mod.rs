//! Exchanges, queues and bindings: found, or made.
//!
//! What exists is taken as it is: it is looked for passively first, as declaring it again with
//! other arguments would be refused with 406 and close the channel.

mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};

use self::plan::{Ownership, Plan, PlannedBinding, PlannedExchange, PlannedQueue};
use super::{
    channels::{self, Channels},
    error::{Error, bounded},
    status::Status,
};
use crate::config::{Config, model::TopologyMode};

const DECLARE_LIMIT: Duration = Duration::from_secs(10);

/// What the configuration wants at the broker.
#[derive(Debug, Clone)]
pub(super) struct Topology {
    plan: Plan,
    mode: TopologyMode,
}

/// Whether something is at the broker.
enum Found {
    Yes,
    No,
}

impl Topology {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            plan: plan::plan(config),
            mode: config.amqp.topology,
        }
    }

    /// Finds or makes everything. What cannot be had is noted in `status`, by name, and stops
    /// nothing else; `Ok(false)` says that there was such a thing.
    ///
    /// # Errors
    /// Only when the connection is of no more use.
    pub(super) async fn apply(&self, pool: &Channels, status: &Status) -> Result<bool, Error> {
        self.apply_but(&[], pool, status).await
    }

    /// The same, without making the queues in `consumed`: each of those is restored by its
    /// consumer, when the broker has cancelled it. Made by another before that, the queue would
    /// stand there without a consumer, as RabbitMQ then never tells the old one.
    pub(super) async fn apply_but(
        &self,
        consumed: &[&str],
        pool: &Channels,
        status: &Status,
    ) -> Result<bool, Error> {
        let mut whole = true;
        for exchange in &self.plan.exchanges {
            let part = format!("exchange {}", exchange.name);
            whole &= note(status, &part, self.exchange(pool, exchange).await)?;
        }
        for exchange in self
            .plan
            .exchanges
            .iter()
            .filter(|exchange| !exchange.external)
        {
            let part = format!("bindings of exchange {}", exchange.name);
            whole &= note(status, &part, self.bind_exchange(pool, exchange).await)?;
        }
        for queue in &self.plan.queues {
            let make = !consumed.contains(&queue.name.as_str());
            whole &= note(
                status,
                &format!("queue {}", queue.name),
                self.queue(pool, queue, make).await,
            )?;
        }
        Ok(whole)
    }

    /// Finds or makes one queue again: it was deleted under its consumer.
    pub(super) async fn restore(&self, pool: &Channels, name: &str) -> Result<(), Error> {
        // Its parked queue may have gone with it; dead-lettering into nothing loses messages.
        for queue in self.plan.queues.iter().filter(|queue| queue.name == name) {
            self.queue(pool, queue, true).await?;
        }
        Ok(())
    }

    async fn exchange(&self, pool: &Channels, exchange: &PlannedExchange) -> Result<(), Error> {
        if self.mode == TopologyMode::None || exchange.name.is_empty() {
            return Ok(());
        }
        let name = short(&exchange.name)?;
        let kind = ExchangeKind::Custom(exchange.kind.clone());
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let looking = async |channel: &Channel| {
            channel
                .exchange_declare(name.clone(), kind.clone(), passive, FieldTable::default())
                .await
        };
        match find(pool, looking).await? {
            Found::Yes => return Ok(()),
            Found::No => self.may_create(exchange.external)?,
        }
        let options = ExchangeDeclareOptions {
            passive: false,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            nowait: false,
        };
        let channel = channels::get(pool).await?;
        let arguments = exchange.arguments.clone();
        let declaring = channel.exchange_declare(name, kind, options, arguments);
        bounded(DECLARE_LIMIT, "declaring an exchange", declaring).await
    }

    async fn bind_exchange(
        &self,
        pool: &Channels,
        exchange: &PlannedExchange,
    ) -> Result<(), Error> {
        if self.mode != TopologyMode::Ensure {
            return Ok(());
        }
        for binding in &exchange.bind {
            let channel = channels::get(pool).await?;
            let PlannedBinding {
                exchange: source,
                routing_key,
                arguments,
            } = binding;
            let binding = channel.exchange_bind(
                short(&exchange.name)?,
                short(source)?,
                short(routing_key)?,
                ExchangeBindOptions::default(),
                arguments.clone(),
            );
            bounded(DECLARE_LIMIT, "binding an exchange", binding).await?;
        }
        Ok(())
    }

    async fn queue(&self, pool: &Channels, queue: &PlannedQueue, make: bool) -> Result<(), Error> {
        let ours = queue.ownership == Ownership::Process;
        if self.mode == TopologyMode::None && !ours {
            return Ok(());
        }
        let name = short(&queue.name)?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let looking = async |channel: &Channel| {
            channel
                .queue_declare(name.clone(), passive, FieldTable::default())
                .await
                .map(drop)
        };
        if matches!(find(pool, looking).await?, Found::No) {
            if !ours {
                self.may_create(queue.ownership == Ownership::External)?;
            }
            if !make {
                return Ok(());
            }
            let options = QueueDeclareOptions {
                passive: false,
                durable: queue.durable,
                exclusive: queue.exclusive,
                auto_delete: queue.auto_delete,
                nowait: false,
            };
            let channel = channels::get(pool).await?;
            let declaring = channel.queue_declare(name.clone(), options, queue.arguments.clone());
            bounded(DECLARE_LIMIT, "declaring a queue", declaring).await?;
        }
        if self.mode == TopologyMode::Ensure && queue.ownership == Ownership::Configured {
            self.bind_queue(pool, queue).await?;
        }
        Ok(())
    }

    async fn bind_queue(&self, pool: &Channels, queue: &PlannedQueue) -> Result<(), Error> {
        for binding in &queue.bind {
            let channel = channels::get(pool).await?;
            let PlannedBinding {
                exchange,
                routing_key,
                arguments,
            } = binding;
            let binding = channel.queue_bind(
                short(&queue.name)?,
                short(exchange)?,
                short(routing_key)?,
                QueueBindOptions::default(),
                arguments.clone(),
            );
            bounded(DECLARE_LIMIT, "binding a queue", binding).await?;
        }
        Ok(())
    }

    fn may_create(&self, external: bool) -> Result<(), Error> {
        match (self.mode, external) {
            (TopologyMode::Ensure, false) => Ok(()),
            (_, true) => Err(Error::Channel("is external and does not exist".to_owned())),
            (TopologyMode::Passive | TopologyMode::None, false) => Err(Error::Channel(
                "does not exist, and `amqp.topology: passive` creates nothing".to_owned(),
            )),
        }
    }
}

/// Looks for something by a passive declaration, on a channel that a miss closes.
async fn find<T>(
    pool: &Channels,
    looking: impl AsyncFnOnce(&Channel) -> Result<T, lapin::Error>,
) -> Result<Found, Error> {
    let channel = channels::get(pool).await?;
    let found = tokio::time::timeout(DECLARE_LIMIT, looking(&channel)).await;
    match found {
        Ok(Ok(_)) => Ok(Found::Yes),
        Ok(Err(error)) => match super::error::soft_error(&error) {
            Some((404, _)) => Ok(Found::No),
            // 405: exclusive to another connection; 403: not ours to see. It exists.
            Some((405, _)) => Ok(Found::Yes),
            _ => Err(error.into()),
        },
        Err(_) => Err(Error::Timeout(
            DECLARE_LIMIT,
            "looking for a queue or an exchange",
        )),
    }
}

/// Keeps a channel-level failure as a problem of `part`; gives every other back.
fn note(status: &Status, part: &str, outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => {
            status.well(part);
            Ok(true)
        }
        Err(error @ (Error::Channel(_) | Error::NameTooLong(_))) => {
            if status.problem(part, error.to_string()) {
                tracing::error!(part, %error, "broker topology is not as configured");
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn short(name: &str) -> Result<ShortString, Error> {
    ShortString::try_new(name).map_err(|_| Error::NameTooLong(name.to_owned()))
}
