//! A crash at any moment: what was answered is there, in order, and nothing comes back.

use std::collections::BTreeMap;

use super::{
    disk::{Change, Disk},
    *,
};

const ROUTES: [&str; 2] = ["invoices", "orders"];

/// Everything there is, as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen(BTreeMap<&'static str, Route>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    line: Vec<(u64, String)>,
    apart: Vec<(u64, String)>,
    usage: Usage,
}

pub(super) async fn look(store: &Store) -> Seen {
    let mut seen = BTreeMap::new();
    for route in ROUTES {
        let spool = spool(store, route);
        let line = all(&spool).await;
        let apart = spool.apart(None, usize::MAX, u64::MAX).await.unwrap();
        let found = Route {
            line: line
                .iter()
                .map(|entry| (entry.key, id(&entry.publish)))
                .collect(),
            apart: apart
                .iter()
                .map(|apart| (apart.key, id(&apart.stored.as_ref().unwrap().1)))
                .collect(),
            usage: spool.usage(),
        };
        let figures = (found.usage.messages, found.usage.apart);
        assert_eq!(figures, (found.line.len() as u64, found.apart.len() as u64));
        seen.insert(route, found);
    }
    Seen(seen)
}

/// Does something to the store at random.
async fn step(store: &Store, random: &mut fastrand::Rng, number: usize) {
    let spool = spool(store, ROUTES[random.usize(..ROUTES.len())]);
    let some = 1 + random.usize(..4);
    match random.u8(..10) {
        0..5 => {
            let mut message = message(&number.to_string());
            if random.u8(..8) == 0 {
                message.body = vec![7; 20_000].into();
            }
            spool.append(message).await.unwrap();
        }
        5..7 => {
            let first = spool.first(some, u64::MAX).await.unwrap();
            spool.remove(keys(&first)).await.unwrap();
        }
        7 => {
            let first = spool.first(some, u64::MAX).await.unwrap();
            spool.set_apart(keys(&first), "expired").await.unwrap();
        }
        other => {
            let apart = spool.apart(None, some, u64::MAX).await.unwrap();
            let keys = apart.iter().map(|apart| apart.key).collect();
            if other == 8 {
                spool.return_to_line(keys).await.unwrap();
            } else {
                spool.discard(keys).await.unwrap();
            }
        }
    }
}

/// What a disk may hold after a crash: all that was synced, and of what was written since then
/// nothing, a beginning, some writes or some sectors.
pub(super) fn crashes(synced: &[u8], since: &[Change], random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let mut images = vec![synced.to_vec()];
    if since.is_empty() {
        return images;
    }
    for length in [random.usize(1..=since.len()), since.len()] {
        let mut image = synced.to_vec();
        since[..length]
            .iter()
            .for_each(|change| change.apply(&mut image));
        images.push(image);
    }
    for _ in 0..2 {
        let (mut writes, mut sectors) = (synced.to_vec(), synced.to_vec());
        for change in since {
            let kept = random.bool();
            change.apply_some(&mut writes, |_| kept);
            change.apply_some(&mut sectors, |_| random.bool());
        }
        images.extend([writes, sectors]);
    }
    images
}

/// The disk at each sync of `log`, with how much of the log that is and what follows to the next.
pub(super) fn cuts<'a>(start: &[u8], log: &'a [Change]) -> Vec<(usize, Vec<u8>, &'a [Change])> {
    let is_sync = |change: &&Change| matches!(change, Change::Sync);
    let mut image = start.to_vec();
    let (mut cuts, mut at) = (Vec::new(), 0);
    loop {
        let rest = &log[at..];
        let length = rest.iter().take_while(|change| !is_sync(change)).count();
        cuts.push((at, image.clone(), &rest[..length]));
        rest[..length]
            .iter()
            .for_each(|change| change.apply(&mut image));
        at += length + 1;
        if at > log.len() {
            return cuts;
        }
    }
}

/// What a store finds on a disk, and what opening it wrote.
async fn reopened(image: Vec<u8>) -> (Seen, Vec<Change>) {
    let disk = Disk::of(image);
    let store = disk.store().unwrap();
    let seen = look(&store).await;
    let log = disk.log();
    store.close().await;
    (seen, log)
}

/// Sees that each crash between two syncs of `log` leaves one of `allowed`.
async fn survives(
    image: &[u8],
    since: &[Change],
    allowed: &[Seen],
    random: &mut fastrand::Rng,
) -> usize {
    let mut crashed = 0;
    for image in crashes(image, since, random) {
        let (found, opening) = reopened(image.clone()).await;
        assert!(
            allowed.contains(&found),
            "{found:#?} is none of {allowed:#?}"
        );
        crashed += 1;
        if random.u8(..20) > 0 {
            continue;
        }
        // A second crash, while the first one is being mended.
        for (_, image, since) in cuts(&image, &opening) {
            for image in crashes(&image, since, random) {
                assert_eq!(reopened(image).await.0, found);
                crashed += 1;
            }
        }
    }
    crashed
}

#[tokio::test]
async fn no_crash_loses_repeats_or_reorders_what_was_answered() {
    const STEPS: usize = 14;
    let mut crashed = 0;
    for seed in [1, 2] {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Disk::new();
        let start = disk.forget();
        let store = disk.store().unwrap();
        // What there was whenever a step had been answered, and the syncs it could count on.
        let mut answered = vec![(0, look(&store).await)];
        for number in 0..STEPS {
            step(&store, &mut random, number).await;
            answered.push((synced(&disk.log()), look(&store).await));
        }
        store.close().await;
        let log = disk.log();
        for (at, image, since) in cuts(&start, &log) {
            let last = answered.iter().rposition(|(position, _)| *position <= at);
            let allowed: Vec<Seen> = answered[last.unwrap()..]
                .iter()
                .take(2)
                .map(|(_, seen)| seen.clone())
                .collect();
            crashed += survives(&image, since, &allowed, &mut random).await;
        }
    }
    assert!(crashed > 10 * STEPS, "only {crashed} crashes were tried");
}

/// The length of the log up to its last sync.
fn synced(log: &[Change]) -> usize {
    let last = log
        .iter()
        .rposition(|change| matches!(change, Change::Sync));
    last.map_or(0, |last| last + 1)
}
