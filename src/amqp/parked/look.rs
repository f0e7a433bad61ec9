//! What can be learned about a queue without taking anything off it.
//!
//! AMQP has no method that tells a queue's arguments, but the broker's refusal of other ones does:
//! declaring an existing queue with an argument that differs is 406, and names the current value
//! (AMQP 0-9-1 §1.7.2.1). One argument is always sent with a value that no queue can have, so that
//! a queue that vanishes meanwhile is not made anew: creating it is refused as well.

use std::time::Duration;

use lapin::{
    Channel, Connection,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::ParkedError;
use crate::amqp::error::{Error, bounded, soft_error};

pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// More arguments than any queue has.
const QUESTIONS: usize = 24;
/// What RabbitMQ 4 takes where a quorum queue does not say.
const DEFAULT_DELIVERY_LIMIT: i64 = 20;
/// Where the limit cannot be learned it may be a low one.
const RENEW_IN_DOUBT: i64 = 2;
const QUEUE_TYPE: &str = "x-queue-type";
const DELIVERY_LIMIT: &str = "x-delivery-limit";
const IMPOSSIBLE: &str = "?";

/// A queue as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// Ready to be delivered: what other consumers hold is not counted.
    pub messages: u32,
    pub consumers: u32,
    /// A message that has been given back so often is better put back as a copy; `None`: giving
    /// back never harms.
    pub renew_at: Option<i64>,
}

/// How often a message may be given back before the broker drops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryLimit {
    /// This type of queue knows none.
    Never,
    Set(i64),
    Unset,
    Unknown,
}

/// What the broker said of one argument.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    name: String,
    current: Option<String>,
    kind: Option<String>,
}

pub(super) async fn look(connection: &Connection, queue: &str) -> Result<Looked, ParkedError> {
    let (messages, consumers) = count(connection, queue).await?;
    let renew_at = match delivery_limit(connection, queue).await? {
        DeliveryLimit::Never => None,
        DeliveryLimit::Set(0) => return Err(ParkedError::NoLook(queue.to_owned())),
        // Negative: none, or the first redelivery, as the broker's version has it.
        DeliveryLimit::Set(..0) => Some(0),
        // The other half is left to looks that are cut off, and to consumers.
        DeliveryLimit::Set(limit) => Some(limit / 2),
        DeliveryLimit::Unset => Some(DEFAULT_DELIVERY_LIMIT / 2),
        DeliveryLimit::Unknown => Some(RENEW_IN_DOUBT),
    };
    Ok(Looked {
        messages,
        consumers,
        renew_at,
    })
}

/// Ready messages, and consumers.
pub(super) async fn count(connection: &Connection, queue: &str) -> Result<(u32, u32), ParkedError> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let channel = open(connection).await?;
    let looking = channel.queue_declare(short(queue)?, passive, FieldTable::default());
    let found = match tokio::time::timeout(LIMIT, looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return Err(match soft_error(&error) {
                Some((404, _)) => ParkedError::NoQueue(queue.to_owned()),
                Some((405, _)) => ParkedError::Exclusive(queue.to_owned()),
                _ => error.into(),
            });
        }
        Err(_) => return Err(Error::Timeout(LIMIT, "looking for a queue").into()),
    };
    close(channel).await;
    Ok((found.message_count(), found.consumer_count()))
}

async fn delivery_limit(
    connection: &Connection,
    queue: &str,
) -> Result<DeliveryLimit, ParkedError> {
    let mut options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut known = FieldTable::default();
    for name in [QUEUE_TYPE, DELIVERY_LIMIT] {
        known.insert(name.into(), AMQPValue::LongString(IMPOSSIBLE.into()));
    }
    for _ in 0..QUESTIONS {
        let Some(told) = ask(connection, queue, options, &known).await? else {
            return Ok(DeliveryLimit::Unknown);
        };
        match (told.name.as_str(), told.current.as_deref()) {
            (DELIVERY_LIMIT, Some(limit)) => {
                return Ok(limit
                    .parse()
                    .map_or(DeliveryLimit::Unknown, DeliveryLimit::Set));
            }
            (DELIVERY_LIMIT, None) => return Ok(DeliveryLimit::Unset),
            (QUEUE_TYPE, Some("stream")) => return Err(ParkedError::Stream(queue.to_owned())),
            (QUEUE_TYPE, None | Some("classic")) => return Ok(DeliveryLimit::Never),
            ("durable", current) => options.durable = current == Some("true"),
            ("auto_delete", current) => options.auto_delete = current == Some("true"),
            _ => told.learn(&mut known),
        }
    }
    Ok(DeliveryLimit::Unknown)
}

/// The first argument that differs; `None` where the broker does not say.
async fn ask(
    connection: &Connection,
    queue: &str,
    options: QueueDeclareOptions,
    known: &FieldTable,
) -> Result<Option<Told>, ParkedError> {
    let channel = open(connection).await?;
    let asking = channel.queue_declare(short(queue)?, options, known.clone());
    match tokio::time::timeout(LIMIT, asking).await {
        Ok(Ok(_)) => {
            close(channel).await;
            Ok(None)
        }
        Ok(Err(error)) => match soft_error(&error) {
            Some((406, text)) => Ok(Told::read(&text)),
            Some(_) => Ok(None),
            None => Err(error.into()),
        },
        Err(_) => Err(Error::Timeout(LIMIT, "asking for a queue's arguments").into()),
    }
}

impl Told {
    /// From `inequivalent arg 'NAME' for queue 'Q' in vhost 'V': received … but current is …`.
    fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (name, rest) = rest.split_once('\'')?;
        // The last one: names of queues may hold anything.
        let (_, current) = rest.rsplit_once(" but current is ")?;
        let current = current.trim();
        let (value, kind) = match current.strip_prefix("the value ") {
            Some(typed) => {
                let (value, kind) = typed.rsplit_once(" of type ")?;
                (value, Some(unquoted(kind).to_owned()))
            }
            None => (current, None),
        };
        Some(Self {
            name: name.to_owned(),
            current: (current != "none").then(|| unquoted(value).to_owned()),
            kind,
        })
    }

    /// Takes the value over, so that the next question is answered with another argument.
    fn learn(&self, known: &mut FieldTable) {
        let name = ShortString::try_new(self.name.as_str()).unwrap_or_default();
        let Some(current) = &self.current else {
            *known = known
                .into_iter()
                .filter(|(known, _)| **known != name)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<std::collections::BTreeMap<_, _>>()
                .into();
            return;
        };
        let value = match (self.kind.as_deref(), current.parse::<i64>()) {
            (Some("longstr") | None, _) | (_, Err(_)) => match current.as_str() {
                "true" if self.kind.as_deref() == Some("bool") => AMQPValue::Boolean(true),
                "false" if self.kind.as_deref() == Some("bool") => AMQPValue::Boolean(false),
                text => AMQPValue::LongString(text.into()),
            },
            (Some(_), Ok(number)) => AMQPValue::LongLongInt(number),
        };
        known.insert(name, value);
    }
}

fn unquoted(text: &str) -> &str {
    let inner = text
        .strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''));
    inner.unwrap_or(text)
}

pub(super) async fn open(connection: &Connection) -> Result<Channel, Error> {
    bounded(LIMIT, "opening a channel", connection.create_channel()).await
}

/// A channel that does not close ends with its connection.
pub(super) async fn close(channel: Channel) {
    let closing = channel.close(200, "done".into());
    drop(bounded(LIMIT, "closing a channel", closing).await);
}

pub(super) fn short(name: &str) -> Result<ShortString, Error> {
    ShortString::try_new(name).map_err(|_| Error::NameTooLong(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Option<(String, Option<String>, Option<String>)> {
        let text = format!("PRECONDITION_FAILED - inequivalent arg {rest}");
        Told::read(&text).map(|told| (told.name, told.current, told.kind))
    }

    /// As RabbitMQ 3.10 writes them.
    #[test]
    fn refusals_tell_the_current_value() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("'x-delivery-limit' for queue 'q' in vhost '/': received '?' but current is '3'"),
            Some(("x-delivery-limit".to_owned(), some("3"), None))
        );
        assert_eq!(
            read(
                "'x-message-ttl' for queue 'a but current is b' in vhost '/': received none \
                 but current is the value '100000' of type 'signedint'"
            ),
            Some((
                "x-message-ttl".to_owned(),
                some("100000"),
                some("signedint")
            ))
        );
        assert_eq!(
            read(
                "'x-delivery-limit' for queue 'q' in vhost '/': received the value '?' of type \
                 'longstr' but current is none"
            ),
            Some(("x-delivery-limit".to_owned(), None, None))
        );
        assert_eq!(read("nothing of the kind"), None);
        let invalid = "invalid arg 'x-delivery-limit' for queue 'q' in vhost '/'";
        assert_eq!(Told::read(invalid), None);
    }
}
