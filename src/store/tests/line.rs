//! Order, removal, limits and figures of one line.

use super::*;

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_in_order() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for name in ["a", "b", "c"] {
        line.append(message(name)).await.unwrap();
    }
    let before = line.usage();
    assert_eq!(before.messages, 3);
    store.close().await;
    assert_eq!(
        line.append(message("late")).await,
        Err(Refused::Unavailable("it is closed".to_owned()))
    );

    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    assert_eq!(line.usage(), before, "known without reading the records");
    let entries = all(&line).await;
    assert_eq!(ids(&entries), ["a", "b", "c"]);
    assert_eq!(entries[0].publish.body, "body of a");
    assert_eq!(Some(entries[0].stored_at), before.oldest);
    store.close().await;
}

#[tokio::test]
async fn the_figures_are_exact_when_a_change_is_answered() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    assert_eq!(line.usage(), Usage::default());
    assert!(line.is_empty());
    let start = SystemTime::now();
    line.append(message("a")).await.unwrap();
    let one = line.usage();
    assert_eq!(one.messages, 1);
    assert!(one.bytes > "body of a".len() as u64);
    assert!(one.oldest.unwrap() + std::time::Duration::from_micros(1) >= start);
    line.append(message("b")).await.unwrap();
    assert_eq!(line.usage().bytes, 2 * one.bytes);
    assert_eq!(line.usage().oldest, one.oldest);

    let entries = all(&line).await;
    line.remove(vec![entries[0].key]).await.unwrap();
    let left = line.usage();
    assert_eq!((left.messages, left.bytes), (1, one.bytes));
    assert_eq!(left.oldest, Some(entries[1].stored_at));
    line.remove(keys(&entries)).await.unwrap();
    assert_eq!(line.usage(), Usage::default());
    store.close().await;
}

#[tokio::test]
async fn routes_know_nothing_of_each_other() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let (one, other) = (spool(&store, "a"), spool(&store, "ab"));
    one.append(message("1")).await.unwrap();
    other.append(message("2")).await.unwrap();
    assert_eq!(ids(&all(&one).await), ["1"]);
    assert_eq!(ids(&all(&other).await), ["2"]);
    one.remove(vec![0, 1, 2]).await.unwrap();
    assert!(one.is_empty());
    assert_eq!(other.usage().messages, 1);
    let spooled: Vec<_> = store.spooled();
    assert_eq!(spooled[1], ("ab".into(), other.usage()));
    store.close().await;
}

#[tokio::test]
async fn a_page_is_bounded_by_messages_and_bytes_but_never_empty() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for name in ["a", "b", "c", "d"] {
        line.append(message(name)).await.unwrap();
    }
    let each = line.usage().bytes / 4;
    assert_eq!(
        ids(&line.first(3, u64::MAX).await.unwrap()),
        ["a", "b", "c"]
    );
    assert_eq!(ids(&line.first(9, 1).await.unwrap()), ["a"]);
    let two = line.first(9, each + 1).await.unwrap();
    assert_eq!(ids(&two), ["a", "b"]);
    let rest = line.after(Some(two[1].key), 9, u64::MAX).await.unwrap();
    assert_eq!(ids(&rest), ["c", "d"]);
    assert!(
        line.after(Some(u64::MAX), 9, u64::MAX)
            .await
            .unwrap()
            .is_empty()
    );
    store.close().await;
}

#[tokio::test]
async fn a_full_spool_refuses_and_takes_again_once_there_is_room() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    line.append(message("a")).await.unwrap();
    let each = line.usage().bytes;
    let line = store.spool(&"orders".into(), &limits(each * 2));
    line.append(message("b")).await.unwrap();
    assert_eq!(line.append(message("c")).await, Err(Refused::Full));
    let first = line.first(1, 1).await.unwrap();
    line.remove(keys(&first)).await.unwrap();
    line.append(message("d")).await.unwrap();
    assert_eq!(ids(&all(&line).await), ["b", "d"]);

    let entries = all(&line).await;
    line.set_apart(keys(&entries), "expired").await.unwrap();
    assert_eq!(
        line.append(message("e")).await,
        Err(Refused::Full),
        "what is set apart takes room"
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_lose_nothing_and_pass_no_limit() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    line.append(message("000")).await.unwrap();
    let each = line.usage().bytes;
    let line = store.spool(&"orders".into(), &limits(each * 100));
    let tracker = tokio_util::task::TaskTracker::new();
    let tasks: Vec<_> = (1..150)
        .map(|n| {
            let line = line.clone();
            let append = async move { line.append(message(&format!("{n:03}"))).await };
            (n, crate::task::spawn(&tracker, "append", append))
        })
        .collect();
    let mut kept = vec!["000".to_owned()];
    for (n, task) in tasks {
        match task.await.unwrap() {
            Ok(()) => kept.push(format!("{n:03}")),
            Err(refused) => assert_eq!(refused, Refused::Full),
        }
    }
    assert_eq!(kept.len(), 100);
    let mut found = ids(&all(&line).await);
    found.sort();
    assert_eq!(found, kept);
    assert_eq!(line.usage().bytes, each * 100);
    store.close().await;
}
