//! A disk that is full or fails: refused at once, nothing lost, and by itself back again.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    disk::{Disk, Trouble},
    *,
};

/// Far longer than anything takes: a test must not depend on speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Appends until it is refused; returns the ids that were stored, and why it was refused.
pub(super) async fn fill(line: &Spool, name: &str) -> (Vec<String>, Refused) {
    let mut stored = Vec::new();
    for n in 0..100_000 {
        let mut message = message(&format!("{name}{n}"));
        message.body = vec![7; 2000].into();
        let id = id(&message);
        match line.append(message).await {
            Ok(()) => stored.push(id),
            Err(refused) => return (stored, refused),
        }
    }
    panic!("the disk has no end");
}

pub(super) async fn up(store: &Store) {
    let mut up = store.watch();
    let works = timeout(PATIENCE, up.wait_for(|up| *up)).await;
    works.expect("the store never worked again").unwrap();
    assert!(store.is_up());
}

/// Whether `found` has all of `stored`, in their order. What was refused may be there as well.
pub(super) fn holds(found: &[String], stored: &[String]) -> bool {
    let mut found = found.iter();
    stored.iter().all(|id| found.any(|other| other == id))
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_and_can_be_emptied() {
    for room in 60..64 {
        fills_up(room).await;
    }
}

async fn fills_up(room: usize) {
    let disk = Disk::new();
    let store = disk.store().unwrap();
    let line = spool(&store, "orders");
    disk.set_trouble(Trouble::Room(disk.blocks() + room));
    let (stored, refused) = fill(&line, "a").await;
    assert!(stored.len() > 10, "only {} fitted", stored.len());
    let Refused::Unknown(reason) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("storage space"), "{reason}");
    assert!(!store.is_up());
    let again = line.append(message("b")).await;
    assert!(matches!(again, Err(Refused::Unavailable(_))), "{again:?}");

    assert!(holds(&ids(&all(&line).await), &stored), "it can be read");
    let first = line.first(stored.len() / 2, u64::MAX).await.unwrap();
    line.remove(keys(&first)).await.unwrap();
    let left = &stored[first.len()..];
    assert!(holds(&ids(&all(&line).await), left));
    // What was taken out makes room in the file.
    line.remove(keys(&all(&line).await)).await.unwrap();
    up(&store).await;
    line.append(message("c")).await.unwrap();
    assert_eq!(ids(&all(&line).await), ["c"]);
    assert_eq!(line.usage().messages, 1);
    store.close().await;
}

#[tokio::test]
async fn a_disk_that_gets_room_is_used_without_being_asked() {
    let disk = Disk::new();
    let store = disk.store().unwrap();
    let line = spool(&store, "orders");
    disk.set_trouble(Trouble::Limit(disk.size()));
    let (mut stored, _) = fill(&line, "a").await;
    assert!(!store.is_up());
    disk.set_trouble(Trouble::None);
    up(&store).await;
    for name in ["b", "c"] {
        line.append(message(name)).await.unwrap();
        stored.push(name.to_owned());
    }
    assert!(holds(&ids(&all(&line).await), &stored));
    store.close().await;
    let store = disk.store().unwrap();
    assert!(holds(&ids(&all(&spool(&store, "orders")).await), &stored));
    store.close().await;
}

#[tokio::test]
async fn a_disk_that_fails_altogether_comes_back_with_everything() {
    for trouble in [Trouble::ReadOnly, Trouble::Broken] {
        let disk = Disk::new();
        let store = disk.store().unwrap();
        let line = spool(&store, "orders");
        for name in ["a", "b"] {
            line.append(message(name)).await.unwrap();
        }
        let usage = line.usage();
        disk.set_trouble(trouble);
        let refused = line.append(message("c")).await.unwrap_err();
        assert!(matches!(refused, Refused::Unknown(_)), "{refused:?}");
        assert!(!store.is_up());
        let refused = line.append(message("d")).await.unwrap_err();
        assert!(matches!(refused, Refused::Unavailable(_)), "{refused:?}");
        line.remove(vec![0]).await.unwrap_err();
        assert_eq!(
            line.usage().messages,
            usage.messages,
            "the last known figures"
        );
        disk.set_trouble(Trouble::None);
        up(&store).await;
        assert!(holds(
            &ids(&all(&line).await),
            &["a".to_owned(), "b".to_owned()]
        ));
        assert_eq!(line.usage().messages, all(&line).await.len() as u64);
        line.append(message("e")).await.unwrap();
        store.close().await;
    }
}

/// Reading fails, nothing was being written.
#[tokio::test]
async fn a_failed_read_is_refused_and_mended() {
    let disk = Disk::new();
    let store = disk.store().unwrap();
    let line = spool(&store, "orders");
    // More than is kept in memory, so that reading needs the disk.
    for n in 0..40 {
        let mut message = message(&n.to_string());
        message.body = vec![1; 1 << 20].into();
        line.append(message).await.unwrap();
    }
    disk.set_trouble(Trouble::Broken);
    let read = line.first(usize::MAX, u64::MAX).await;
    assert!(
        matches!(read, Err(Refused::Unknown(_))),
        "{:?}",
        read.map(|all| all.len())
    );
    assert!(!store.is_up());
    disk.set_trouble(Trouble::None);
    up(&store).await;
    assert_eq!(all(&line).await.len(), 40);
    store.close().await;
}

#[tokio::test]
async fn closing_while_the_disk_is_broken_ends() {
    let disk = Disk::new();
    let store = disk.store().unwrap();
    let line = spool(&store, "orders");
    line.append(message("a")).await.unwrap();
    disk.set_trouble(Trouble::Broken);
    line.append(message("b")).await.unwrap_err();
    timeout(PATIENCE, store.close()).await.unwrap();
    disk.set_trouble(Trouble::None);
    let store = disk.store().unwrap();
    assert!(holds(
        &ids(&all(&spool(&store, "orders")).await),
        &["a".to_owned()]
    ));
    store.close().await;
}
