//! What is set apart is out of the line and kept; what cannot be read is set apart.

use std::time::Duration;

use redb::{Database, ReadableTable, TableDefinition};

use super::*;

#[tokio::test]
async fn what_is_set_apart_leaves_the_line_and_outlives_a_restart() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for name in ["a", "b", "c"] {
        line.append(message(name)).await.unwrap();
    }
    let entries = all(&line).await;
    let before = line.usage();
    line.set_apart(vec![entries[0].key, 99], "expired")
        .await
        .unwrap();
    assert_eq!(ids(&all(&line).await), ["b", "c"]);
    let usage = line.usage();
    assert_eq!((usage.messages, usage.apart), (2, 1));
    assert_eq!(usage.bytes + usage.apart_bytes, before.bytes);
    assert_eq!(usage.oldest, Some(entries[1].stored_at));
    store.close().await;

    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    assert_eq!(line.usage(), usage);
    let apart = line.apart(None, 10, u64::MAX).await.unwrap();
    assert_eq!(apart.len(), 1);
    assert_eq!(apart[0].reason, "expired");
    assert!(apart[0].since >= entries[0].stored_at);
    let (stored_at, publish) = apart[0].stored.clone().unwrap();
    assert_eq!(
        (stored_at, id(&publish).as_str()),
        (entries[0].stored_at, "a")
    );
    store.close().await;
}

#[tokio::test]
async fn it_is_listed_in_pages_and_found_by_key() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for n in 0..7 {
        line.append(message(&n.to_string())).await.unwrap();
    }
    let entries = all(&line).await;
    line.set_apart(keys(&entries), "expired").await.unwrap();
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let page = line.apart(after, 3, u64::MAX).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        listed.extend(page.iter().map(|apart| apart.key));
    }
    assert_eq!(listed, keys(&entries));
    assert_eq!(line.apart(None, 9, 1).await.unwrap().len(), 1);
    let found = line.get_apart(entries[4].key).await.unwrap().unwrap();
    assert_eq!(id(&found.stored.unwrap().1), "4");
    assert!(line.get_apart(77).await.unwrap().is_none());
    assert!(
        spool(&store, "other")
            .get_apart(entries[4].key)
            .await
            .unwrap()
            .is_none()
    );
    store.close().await;
}

#[tokio::test]
async fn what_returns_stands_at_the_end_as_new() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for name in ["a", "b"] {
        line.append(message(name)).await.unwrap();
    }
    let entries = all(&line).await;
    line.set_apart(keys(&entries[..1]), "expired")
        .await
        .unwrap();
    let set_apart = SystemTime::now() - Duration::from_micros(1);
    assert_eq!(
        line.return_to_line(vec![entries[0].key, 50]).await.unwrap(),
        1
    );
    let now = all(&line).await;
    assert_eq!(ids(&now), ["b", "a"]);
    assert!(now[1].key > entries[1].key);
    assert!(now[1].stored_at >= set_apart, "its age begins anew");
    assert_eq!(line.usage().apart, 0);
    assert_eq!(line.usage().apart_bytes, 0);
    assert_eq!(line.return_to_line(vec![entries[0].key]).await.unwrap(), 0);
    store.close().await;
}

#[tokio::test]
async fn what_is_discarded_is_gone() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for name in ["a", "b"] {
        line.append(message(name)).await.unwrap();
    }
    let entries = all(&line).await;
    line.set_apart(keys(&entries), "expired").await.unwrap();
    assert_eq!(line.discard(vec![entries[0].key, 50]).await.unwrap(), 1);
    let left = line.apart(None, 9, u64::MAX).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].key, entries[1].key);
    assert_eq!(line.usage().apart_bytes, left[0].bytes);
    assert_eq!(line.discard(vec![entries[0].key]).await.unwrap(), 0);
    store.close().await;
}

/// Keys are never used again, so that a late removal cannot hit another message.
#[tokio::test]
async fn keys_of_removed_messages_do_not_come_back() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    line.append(message("a")).await.unwrap();
    let first = keys(&all(&line).await);
    line.remove(first.clone()).await.unwrap();
    store.close().await;
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    line.append(message("b")).await.unwrap();
    line.remove(first).await.unwrap();
    assert_eq!(ids(&all(&line).await), ["b"]);
    store.close().await;
}

#[tokio::test]
async fn damaged_records_are_set_apart_and_hold_up_nothing() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for name in ["a", "b", "c", "d"] {
        line.append(message(name)).await.unwrap();
    }
    let entries = all(&line).await;
    let usage = line.usage();
    store.close().await;
    spoil(&folder, &[entries[0].key, entries[1].key, entries[3].key]);

    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    assert_eq!(ids(&line.first(2, u64::MAX).await.unwrap()), ["c"]);
    assert_eq!(ids(&all(&line).await), ["c"]);
    let apart = line.apart(None, 9, u64::MAX).await.unwrap();
    assert_eq!(apart.len(), 3);
    for damaged in &apart {
        assert_eq!(damaged.reason, "damaged");
        assert!(damaged.stored.is_none());
    }
    let now = line.usage();
    assert_eq!((now.messages, now.apart), (1, 3));
    assert_eq!(now.bytes + now.apart_bytes, usage.bytes);
    let keys: Vec<u64> = apart.iter().map(|apart| apart.key).collect();
    assert_eq!(line.return_to_line(keys.clone()).await.unwrap(), 0);
    assert_eq!(line.usage(), now, "they would only come back");
    assert_eq!(line.discard(keys).await.unwrap(), 3);
    store.close().await;
}

/// Changes one byte of the records' bodies.
fn spoil(folder: &TempDir, keys: &[u64]) {
    let records = TableDefinition::<(&str, u64), &[u8]>::new("spool.records");
    let database = Database::open(folder.path().join("hareway.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(records).unwrap();
    for key in keys {
        let mut record = table
            .get(("orders", *key))
            .unwrap()
            .unwrap()
            .value()
            .to_vec();
        *record.last_mut().unwrap() ^= 1;
        table.insert(("orders", *key), record.as_slice()).unwrap();
    }
    drop(table);
    transaction.commit().unwrap();
}
