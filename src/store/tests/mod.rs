//! The store's promises: what was answered is on the disk, in order, and nothing else is.

mod answers;
mod apart;
mod crash;
mod disk;
mod interleaving;
mod limit;
mod line;

mod opening;
mod size;
mod trouble;

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use lapin::BasicProperties;
use tempfile::TempDir;

use super::*;
use crate::{config::model, message::Publish};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn limits(max_bytes: u64) -> model::Spool {
    model::Spool {
        max_bytes,
        max_age: None,
    }
}

fn spool(store: &Store, route: &str) -> Spool {
    store.spool(&Arc::from(route), &limits(u64::MAX))
}

fn message(id: &str) -> Publish {
    Publish {
        exchange: "orders".into(),
        routing_key: "order.placed".into(),
        properties: BasicProperties::default().with_message_id(id.into()),
        body: Bytes::from(format!("body of {id}")),
    }
}

fn id(publish: &Publish) -> String {
    publish.properties.message_id().clone().unwrap().to_string()
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| id(&entry.publish)).collect()
}

fn keys(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.key).collect()
}

async fn all(spool: &Spool) -> Vec<Entry> {
    spool.first(usize::MAX, u64::MAX).await.unwrap()
}
