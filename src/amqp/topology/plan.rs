//! Which exchanges, queues and bindings a configuration stands for.

use std::{collections::BTreeSet, time::Duration};

use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::config::{
    Config,
    model::{Binding, Deliver, Exchange, Inbound, Park, Queue, QueueType, Route},
    names,
};

/// Everything to be found or made at the broker, in an order in which it can be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub exchanges: Vec<PlannedExchange>,
    pub queues: Vec<PlannedQueue>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedExchange {
    pub name: String,
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    pub bind: Vec<PlannedBinding>,
    pub external: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedQueue {
    pub name: String,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: FieldTable,
    pub bind: Vec<PlannedBinding>,
    pub ownership: Ownership,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Another team's: only checked.
    External,
    /// Part of the configuration: made under `ensure`, checked under `passive`.
    Configured,
    /// Part of this running process, like its connection: made whatever the mode.
    Process,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedBinding {
    pub exchange: String,
    pub routing_key: String,
    pub arguments: FieldTable,
}

/// RabbitMQ 4 drops or dead-letters a quorum queue's message after 20 redeliveries unless told
/// otherwise, and 3.10 takes -1 for "at once": a number that is never reached means the same to
/// both.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The plan for `config`.
pub(super) fn plan(config: &Config) -> Plan {
    let planner = Planner {
        config,
        replying: replying_queues(config),
    };
    let mut queues = Vec::new();
    // What is dead-lettered into comes before what dead-letters into it.
    for route in &config.routes {
        if let Some(deliver) = route.deliver() {
            planner.failure_queues(route, deliver, &mut queues);
        }
    }
    planner.reply_queues(&mut queues);
    for (name, queue) in &config.queues {
        queues.push(planner.configured(name, queue));
    }
    let mut seen = BTreeSet::new();
    // A parked queue that is also declared by the user: the user's declaration is the later one.
    let mut queues: Vec<_> = queues
        .into_iter()
        .rev()
        .filter(|queue| seen.insert(queue.name.clone()))
        .collect();
    queues.reverse();
    let exchanges = config
        .exchanges
        .iter()
        .map(|(name, exchange)| planned_exchange(name, exchange))
        .collect();
    Plan { exchanges, queues }
}

struct Planner<'a> {
    config: &'a Config,
    /// Queues whose messages expire by design, when their caller has gone.
    replying: BTreeSet<&'a str>,
}

impl Planner<'_> {
    fn failure_queues(&self, route: &Route, deliver: &Deliver, queues: &mut Vec<PlannedQueue>) {
        if let Park::Queue { name } = &deliver.failure.park {
            let arguments = self.typed(self.config.amqp.queue_type);
            queues.push(own_queue(name.clone(), arguments, Ownership::Configured));
        }
        let Some(retry) = &deliver.failure.retry else {
            return;
        };
        let tiers: BTreeSet<Duration> = retry.schedule.delays().iter().copied().collect();
        for delay in tiers {
            let mut arguments = self.typed(self.config.amqp.queue_type);
            let ttl = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl));
            dead_letter(&mut arguments, &deliver.source.queue);
            let name = names::retry_queue(&route.name, delay);
            queues.push(own_queue(name, arguments, Ownership::Configured));
        }
    }

    fn reply_queues(&self, queues: &mut Vec<PlannedQueue>) {
        let mut replies = self
            .config
            .routes
            .iter()
            .filter_map(|route| route.inbound()?.reply())
            .peekable();
        if replies.peek().is_some() {
            // Durable, so that replies outlive a restart of the broker. On several nodes also
            // replicated: a classic queue is gone for as long as the one node that has it, and
            // the process would have nowhere to be replied to.
            let several = self.config.amqp.urls.len() > 1;
            let mut arguments = self.typed(match several {
                true => QueueType::Quorum,
                false => QueueType::Classic,
            });
            let expires = self.config.amqp.reply_queue_expires.as_millis();
            let expires = i64::try_from(expires).unwrap_or(i64::MAX);
            arguments.insert("x-expires".into(), AMQPValue::LongLongInt(expires));
            let name = names::reply_queue(&self.config.amqp.instance);
            queues.push(own_queue(name, arguments, Ownership::Process));
        }
        for name in replies.filter_map(|reply| reply.queue.as_ref()) {
            if !self.config.queues.contains_key(name) {
                let arguments = self.typed(self.config.amqp.queue_type);
                queues.push(own_queue(name.clone(), arguments, Ownership::Configured));
            }
        }
    }

    fn configured(&self, name: &str, queue: &Queue) -> PlannedQueue {
        let mut arguments = FieldTable::default();
        set(&mut arguments, "x-queue-type", queue.kind.as_str());
        if let Some(parked) = self.parked_for(name).filter(|_| !queue.external) {
            let theirs = queue.arguments.inner();
            let chosen = |key: &str| theirs.contains_key(key);
            // At-least-once dead-lettering depends on `reject-publish`; either the user has
            // decided on these, or all of them are ours.
            if !chosen("x-dead-letter-exchange") && !chosen("x-dead-letter-routing-key") {
                if chosen("x-overflow") || chosen("x-dead-letter-strategy") {
                    set(&mut arguments, "x-dead-letter-exchange", "");
                    set(&mut arguments, "x-dead-letter-routing-key", parked);
                } else {
                    dead_letter(&mut arguments, parked);
                }
            }
        }
        for (key, value) in queue.arguments.inner() {
            arguments.insert(key.clone(), value.clone());
        }
        PlannedQueue {
            name: name.to_owned(),
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            arguments,
            bind: bindings(&queue.bind),
            ownership: if queue.external {
                Ownership::External
            } else {
                Ownership::Configured
            },
        }
    }

    /// The parked queue into which the broker itself may dead-letter messages of `queue`.
    fn parked_for(&self, queue: &str) -> Option<&str> {
        if self.replying.contains(queue) {
            return None;
        }
        let delivers = self
            .config
            .routes
            .iter()
            .filter_map(|route| route.deliver());
        delivers
            .filter(|deliver| deliver.source.queue == queue)
            .find_map(|deliver| match &deliver.failure.park {
                Park::Queue { name } if name != queue => Some(name.as_str()),
                Park::Queue { .. } | Park::Drop | Park::Requeue => None,
            })
    }

    fn typed(&self, kind: QueueType) -> FieldTable {
        let mut arguments = FieldTable::default();
        // Retry and parked queues must be able to dead-letter and to be read more than once.
        let kind = if kind == QueueType::Stream {
            QueueType::Quorum
        } else {
            kind
        };
        set(&mut arguments, "x-queue-type", kind.as_str());
        if kind == QueueType::Quorum {
            let limit = AMQPValue::LongLongInt(NO_DELIVERY_LIMIT);
            arguments.insert("x-delivery-limit".into(), limit);
        }
        arguments
    }
}

/// Queues that carry requests of request/reply routes.
fn replying_queues(config: &Config) -> BTreeSet<&str> {
    let inbound = config.routes.iter().filter_map(|route| route.inbound());
    inbound
        .filter(|inbound| inbound.reply().is_some() && inbound.target.exchange.is_empty())
        .filter_map(|inbound: &Inbound| inbound.target.routing_key.as_literal())
        .collect()
}

/// Dead-letters into `target` by the default exchange, at least once where the type can.
///
/// Classic queues have one strategy only, at most once, and ignore the argument.
fn dead_letter(arguments: &mut FieldTable, target: &str) {
    set(arguments, "x-dead-letter-exchange", "");
    set(arguments, "x-dead-letter-routing-key", target);
    let quorum = AMQPValue::LongString(LongString::from("quorum"));
    if arguments.inner().get("x-queue-type") == Some(&quorum) {
        set(arguments, "x-dead-letter-strategy", "at-least-once");
        set(arguments, "x-overflow", "reject-publish");
    }
}

fn own_queue(name: String, arguments: FieldTable, ownership: Ownership) -> PlannedQueue {
    PlannedQueue {
        name,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
        bind: Vec::new(),
        ownership,
    }
}

fn planned_exchange(name: &str, exchange: &Exchange) -> PlannedExchange {
    PlannedExchange {
        name: name.to_owned(),
        kind: exchange.kind.clone(),
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
        bind: bindings(&exchange.bind),
        external: exchange.external,
    }
}

fn bindings(bindings: &[Binding]) -> Vec<PlannedBinding> {
    let planned = |binding: &Binding| PlannedBinding {
        exchange: binding.exchange.clone(),
        routing_key: binding.routing_key.clone(),
        arguments: binding.arguments.clone(),
    };
    bindings.iter().map(planned).collect()
}

fn set(arguments: &mut FieldTable, key: &str, value: &str) {
    arguments.insert(ShortString::from(key), AMQPValue::LongString(value.into()));
}
