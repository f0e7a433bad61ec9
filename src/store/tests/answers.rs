//! Keys and answers on a disk that is cut off, full or broken.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::{
    crash::{crashes, cuts},
    disk::{Disk, Trouble},
    *,
};
use crate::template::Template;

/// Far longer than anything takes: a test must not depend on speed.
const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: u8 = 3;

fn answers(store: &Store) -> Answers {
    let settings = model::Idempotency {
        key: Template::literal(""),
        scope: None,
        required: false,
        ttl: Duration::ZERO,
        max_bytes: u64::MAX,
    };
    store.answers(&"orders".into(), &settings)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds)
}

fn begin(key: u8, id: &str, seconds: u64) -> Begin {
    Begin {
        key: [key; 32],
        fingerprint: [0; 32],
        message_id: id.into(),
        now: at(seconds),
        ttl: Duration::from_secs(100),
    }
}

fn answer(size: usize) -> Answer {
    Answer {
        status: StatusCode::ACCEPTED,
        headers: HeaderMap::new(),
        body: vec![b'x'; size].into(),
    }
}

/// What is known of every key, and how many there are.
async fn known(store: &Store) -> (Vec<Option<Begun>>, u64) {
    let answers = answers(store);
    let mut found = Vec::new();
    for key in 0..KEYS {
        found.push(answers.look(begin(key, "", 0)).await);
    }
    (found, answers.kept().keys)
}

async fn step(store: &Store, random: &mut fastrand::Rng, number: usize) {
    let answers = answers(store);
    let key = random.u8(..KEYS);
    let id = match answers.look(begin(key, "", 0)).await {
        Some(Begun::Unanswered(id)) => id,
        _ => "m".into(),
    };
    match random.u8(..8) {
        0..4 => {
            // Some expire before the sweep's time, some after.
            let begin = begin(key, &format!("m-{number}"), random.u64(..2));
            drop(answers.begin(begin).await.unwrap());
        }
        4..6 => {
            let answer = answer(random.usize(..6000));
            answers.finish([key; 32], id, answer, at(0)).await.unwrap();
        }
        6 => answers.release([key; 32], id).await.unwrap(),
        _ => while store.sweep(at(100)).await.unwrap() {},
    }
}

/// A crash at any sync of any change leaves the change made or not made, and nothing between.
#[tokio::test]
async fn a_crash_leaves_each_change_made_or_not_made() {
    let mut random = fastrand::Rng::with_seed(20_261_121);
    let disk = Disk::new();
    let store = disk.store().unwrap();
    let mut crashed = 0;
    for number in 0..60 {
        let before = known(&store).await;
        let start = disk.forget();
        step(&store, &mut random, number).await;
        let log = disk.log();
        let after = known(&store).await;
        for (_, image, since) in cuts(&start, &log) {
            for image in crashes(&image, since, &mut random) {
                let left = Disk::of(image).store().unwrap();
                let found = known(&left).await;
                left.close().await;
                assert!(
                    found == before || found == after,
                    "{found:?} after step {number}"
                );
                crashed += 1;
            }
        }
        let last = Disk::of(disk.forget()).store().unwrap();
        assert_eq!(known(&last).await, after, "what was answered is there");
        last.close().await;
    }
    assert!(crashed > 200, "{crashed}");
    store.close().await;
}

/// A disk that takes nothing: what is known is still answered, nothing new is begun, and when it
/// has room again all goes on.
#[tokio::test]
async fn a_full_disk_still_knows_what_was_answered() {
    let disk = Disk::new();
    let store = disk.store().unwrap();
    let answers = answers(&store);
    for key in [0, 1] {
        answers.begin(begin(key, "m", 0)).await.unwrap();
    }
    let finished = answers.finish([0; 32], "m".into(), answer(9), at(0));
    finished.await.unwrap();

    disk.set_trouble(Trouble::Room(disk.blocks()));
    let mut key = 2;
    let refused = loop {
        if let Err(refused) = answers.begin(begin(key, "m", 1)).await {
            break refused;
        }
        let finished = answers.finish([key; 32], "m".into(), answer(9000), at(1));
        if let Err(refused) = finished.await {
            break refused;
        }
        key += 1;
    };
    assert!(matches!(refused, Refused::Unknown(_)), "{refused:?}");
    assert!(!store.is_up());
    let again = answers.begin(begin(0, "m", 1)).await;
    assert_eq!(again, Ok(Begun::Answered(answer(9))));
    let mut other = begin(1, "m", 1);
    other.fingerprint = [1; 32];
    assert_eq!(answers.begin(other).await, Ok(Begun::Conflict));
    for key in [1, 255] {
        let refused = answers.begin(begin(key, "m", 1)).await;
        assert!(
            matches!(refused, Err(Refused::Unavailable(_))),
            "{key}: {refused:?}"
        );
    }
    let kept = answers.finish([1; 32], "m".into(), answer(9), at(1));
    assert!(matches!(kept.await, Err(Refused::Unavailable(_))));

    disk.set_trouble(Trouble::None);
    let mut up = store.watch();
    let works = timeout(PATIENCE, up.wait_for(|up| *up)).await;
    works.expect("the store never worked again").unwrap();
    let unanswered = answers.begin(begin(1, "m-2", 1)).await;
    assert_eq!(unanswered, Ok(Begun::Unanswered("m".into())));
    assert_eq!(answers.begin(begin(255, "m", 1)).await, Ok(Begun::First));
    let finished = answers.finish([1; 32], "m".into(), answer(9000), at(1));
    assert_eq!(finished.await, Ok(()));
    store.close().await;
}
