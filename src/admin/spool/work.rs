//! What can be seen and done in the spools, over HTTP and on the command line alike.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{
    config::model,
    store::{self, Refused, Store},
};

/// The most messages of one page.
pub const PAGE_MAX: usize = 1000;
/// Messages that are moved in one step.
const STEP: usize = 256;
/// Bytes of records that are read in one step.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// The spools of every route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spools {
    pub routes: Vec<Line>,
}

/// One route's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub route: String,
    /// Messages that wait in line.
    pub messages: u64,
    pub bytes: u64,
    /// When the first of them was stored (RFC 3339).
    pub oldest: Option<String>,
    /// Messages that were set apart.
    pub apart: u64,
    pub apart_bytes: u64,
}

/// Messages that were set apart, by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub messages: Vec<Apart>,
    /// The key to go on `after`; absent on the last page.
    pub next: Option<u64>,
}

/// A message that was set apart. What its record no longer tells is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    pub key: u64,
    pub id: Option<String>,
    /// When it was accepted, and when it was set apart (RFC 3339).
    pub stored_at: Option<String>,
    pub since: String,
    pub reason: String,
    pub exchange: Option<String>,
    pub routing_key: Option<String>,
    /// Of its record.
    pub bytes: u64,
}

/// Which messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    pub keys: Vec<u64>,
    #[serde(default)]
    pub all: bool,
}

/// What becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// To the end of the line.
    Return,
    Discard,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub messages: u64,
}

/// Why it was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    #[error("no route `{0}` has or had a spool")]
    NoSuchRoute(String),
    #[error("say which messages: `keys`, or `all`, and not both")]
    Which,
    #[error(transparent)]
    Store(#[from] Refused),
}

/// Every route with a spool, and those that have left messages.
pub fn spools(store: &Store) -> Spools {
    let line = |(route, usage): (std::sync::Arc<str>, store::Usage)| Line {
        route: route.to_string(),
        messages: usage.messages,
        bytes: usage.bytes,
        oldest: usage.oldest.map(rfc3339),
        apart: usage.apart,
        apart_bytes: usage.apart_bytes,
    };
    Spools {
        routes: store.spooled().into_iter().map(line).collect(),
    }
}

/// The messages set apart whose keys come after `after`: at most `most`, and [`PAGE_MAX`].
///
/// # Errors
/// See [`SpoolError`].
pub async fn apart(
    store: &Store,
    route: &str,
    after: Option<u64>,
    most: usize,
) -> Result<Page, SpoolError> {
    let spool = spool(store, route)?;
    let most = most.clamp(1, PAGE_MAX);
    // One more tells whether there is a next page.
    let mut found = spool.apart(after, most + 1, STEP_BYTES).await?;
    let more = found.len() > most;
    found.truncate(most);
    let last = found.last().map(|apart| apart.key);
    let next = match (more, last) {
        (true, last) => last,
        // The page may have ended at its bytes instead.
        (false, Some(last)) => {
            let rest = spool.apart(Some(last), 1, 1).await?;
            (!rest.is_empty()).then_some(last)
        }
        (false, None) => None,
    };
    Ok(Page {
        messages: found.into_iter().map(Apart::from).collect(),
        next,
    })
}

/// Moves messages that were set apart; says how many it moved.
///
/// # Errors
/// See [`SpoolError`]; some may have been moved.
pub async fn act(
    store: &Store,
    route: &str,
    wanted: Wanted,
    deed: Deed,
) -> Result<Done, SpoolError> {
    if wanted.all != wanted.keys.is_empty() {
        return Err(SpoolError::Which);
    }
    let spool = spool(store, route)?;
    let mut messages = 0;
    for keys in wanted.keys.chunks(STEP) {
        messages += step(&spool, keys.to_vec(), deed).await?;
    }
    // Only what is there at this moment: what is returned may be set apart anew.
    let mut left = match wanted.all {
        true => spool.usage().apart,
        false => 0,
    };
    let mut after = None;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(STEP).min(STEP);
        let found = spool.apart(after, most, STEP_BYTES).await?;
        let keys: Vec<u64> = found.iter().map(|apart| apart.key).collect();
        let Some(last) = keys.last() else { break };
        after = Some(*last);
        left -= keys.len() as u64;
        messages += step(&spool, keys, deed).await?;
    }
    if messages > 0 {
        let deed = match deed {
            Deed::Return => "returned to the line",
            Deed::Discard => "discarded",
        };
        tracing::info!(
            route,
            messages,
            deed,
            "messages that were set apart are moved"
        );
    }
    Ok(Done { messages })
}

async fn step(spool: &store::Spool, keys: Vec<u64>, deed: Deed) -> Result<u64, Refused> {
    match deed {
        Deed::Return => spool.return_to_line(keys).await,
        Deed::Discard => spool.discard(keys).await,
    }
}

fn spool(store: &Store, route: &str) -> Result<store::Spool, SpoolError> {
    let mut known = store.spooled().into_iter();
    let Some((name, _)) = known.find(|(name, _)| **name == *route) else {
        return Err(SpoolError::NoSuchRoute(route.to_owned()));
    };
    // Nothing is appended through this handle, so it needs no limit.
    let limits = model::Spool {
        max_bytes: u64::MAX,
        max_age: None,
    };
    Ok(store.spool(&name, &limits))
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

impl From<store::Apart> for Apart {
    fn from(apart: store::Apart) -> Self {
        let (stored_at, publish) = apart.stored.unzip();
        let publish = publish.as_ref();
        let id = publish.and_then(|publish| publish.properties.message_id().as_ref());
        Self {
            key: apart.key,
            id: id.map(ToString::to_string),
            stored_at: stored_at.map(rfc3339),
            since: rfc3339(apart.since),
            reason: apart.reason,
            exchange: publish.map(|publish| publish.exchange.to_string()),
            routing_key: publish.map(|publish| publish.routing_key.to_string()),
            bytes: apart.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lapin::BasicProperties;

    use super::*;
    use crate::message::Publish;

    /// Five messages in line, all set apart.
    async fn five() -> (Store, store::Spool, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let limits = model::Spool {
            max_bytes: 1 << 20,
            max_age: None,
        };
        let spool = store.spool(&"orders".into(), &limits);
        for number in 0..5 {
            let publish = Publish {
                exchange: "x".into(),
                routing_key: "k".into(),
                properties: BasicProperties::default()
                    .with_message_id(format!("m-{number}").as_str().into()),
                body: Bytes::from_static(b"body"),
            };
            spool.append(publish).await.unwrap();
        }
        let all = spool.first(10, u64::MAX).await.unwrap();
        let keys = all.iter().map(|entry| entry.key).collect();
        spool.set_apart(keys, "expired").await.unwrap();
        (store, spool, folder)
    }

    fn ids(page: &Page) -> Vec<&str> {
        let ids = page.messages.iter().map(|apart| apart.id.as_deref());
        ids.map(Option::unwrap_or_default).collect()
    }

    #[tokio::test]
    async fn pages_lead_from_one_to_the_next_and_to_an_end() {
        let (store, _spool, _folder) = five().await;
        let first = apart(&store, "orders", None, 3).await.unwrap();
        assert_eq!(ids(&first), ["m-0", "m-1", "m-2"]);
        let shown = first.messages.first().unwrap();
        assert_eq!(shown.exchange.as_deref(), Some("x"));
        assert_eq!(shown.reason, "expired");
        let second = apart(&store, "orders", first.next, 2).await.unwrap();
        assert_eq!(ids(&second), ["m-3", "m-4"]);
        assert_eq!(second.next, None);
        let line = spools(&store).routes.remove(0);
        assert_eq!((line.messages, line.apart), (0, 5));
    }

    #[tokio::test]
    async fn what_is_wanted_is_moved_and_nothing_else() {
        let (store, spool, _folder) = five().await;
        let page = apart(&store, "orders", None, 10).await.unwrap();
        let keys: Vec<u64> = page.messages.iter().map(|apart| apart.key).collect();
        let some = Wanted {
            keys: keys[..2].to_vec(),
            all: false,
        };
        let done = act(&store, "orders", some.clone(), Deed::Return).await;
        assert_eq!(done, Ok(Done { messages: 2 }));
        assert_eq!((spool.usage().messages, spool.usage().apart), (2, 3));
        let again = act(&store, "orders", some, Deed::Discard).await;
        assert_eq!(
            again,
            Ok(Done { messages: 0 }),
            "they are not apart any more"
        );
        let all = Wanted {
            keys: Vec::new(),
            all: true,
        };
        let done = act(&store, "orders", all.clone(), Deed::Discard).await;
        assert_eq!(done, Ok(Done { messages: 3 }));
        assert_eq!((spool.usage().messages, spool.usage().apart), (2, 0));
        for unclear in [Wanted::default(), Wanted { keys, ..all }] {
            let refused = act(&store, "orders", unclear, Deed::Discard).await;
            assert_eq!(refused, Err(SpoolError::Which));
        }
        let missing = apart(&store, "other", None, 1).await;
        assert_eq!(missing, Err(SpoolError::NoSuchRoute("other".to_owned())));
    }
}
