//! What was answered for a key is on the disk, for as long as it was promised, and no longer.

use std::collections::HashMap;

use http::HeaderValue;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{record::Record, tables::Tables, *};
use crate::{
    config::model::Idempotency,
    store::{Refused, Store},
    template::Template,
};

const TTL: Duration = Duration::from_secs(100);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn of(store: &Store, route: &str, max_bytes: u64) -> Answers {
    let settings = Idempotency {
        key: Template::literal(""),
        scope: None,
        required: false,
        ttl: TTL,
        max_bytes,
    };
    store.answers(&route.into(), &settings)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn begin(key: u8, id: &str, seconds: u64) -> Begin {
    Begin {
        key: [key; 32],
        fingerprint: [1; 32],
        message_id: id.into(),
        now: at(seconds),
        ttl: TTL,
    }
}

fn answer(body: impl Into<Bytes>) -> Answer {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("1"));
    headers.append("x-a", HeaderValue::from_bytes(b"\xff").unwrap());
    Answer {
        status: StatusCode::CREATED,
        headers,
        body: body.into(),
    }
}

/// What a crash leaves: the file as it is while the store is still open.
fn crashed(folder: &TempDir) -> TempDir {
    let left = self::folder();
    std::fs::copy(
        folder.path().join("hareway.redb"),
        left.path().join("hareway.redb"),
    )
    .unwrap();
    left
}

#[tokio::test]
async fn a_key_is_begun_once_and_answered_once() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let answers = of(&store, "orders", u64::MAX);
    let first = begin(1, "m-1", 0);
    assert_eq!(answers.begin(first.clone()).await, Ok(Begun::First));
    let again = begin(1, "m-2", 1);
    let unanswered = Ok(Begun::Unanswered("m-1".into()));
    assert_eq!(answers.begin(again.clone()).await, unanswered);
    let mut other = again.clone();
    other.fingerprint = [2; 32];
    assert_eq!(answers.begin(other.clone()).await, Ok(Begun::Conflict));

    let stranger = answers.finish([1; 32], "m-2".into(), answer("late"), at(1));
    stranger.await.unwrap();
    assert_eq!(answers.begin(again.clone()).await, unanswered);
    for body in ["first", "second"] {
        let finished = answers.finish([1; 32], "m-1".into(), answer(body), at(1));
        finished.await.unwrap();
    }
    answers.release([1; 32], "m-1".into()).await.unwrap();
    let answered = Ok(Begun::Answered(answer("first")));
    assert_eq!(answers.begin(again).await, answered);
    assert_eq!(answers.begin(other).await, Ok(Begun::Conflict));
    assert_eq!(answers.kept().keys, 1);
    store.close().await;
}

#[tokio::test]
async fn a_released_key_is_new_again() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let answers = of(&store, "orders", u64::MAX);
    answers.begin(begin(1, "m-1", 0)).await.unwrap();
    answers.release([1; 32], "m-0".into()).await.unwrap();
    assert_eq!(answers.kept().keys, 1, "another call's key");
    answers.release([1; 32], "m-1".into()).await.unwrap();
    assert_eq!(answers.kept(), Kept::default());
    assert_eq!(answers.begin(begin(1, "m-2", 1)).await, Ok(Begun::First));
    store.close().await;
}

#[tokio::test]
async fn a_key_lives_for_its_time_from_the_first_call_on() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let answers = of(&store, "orders", u64::MAX);
    answers.begin(begin(1, "m-1", 0)).await.unwrap();
    let finished = answers.finish([1; 32], "m-1".into(), answer("a"), at(50));
    finished.await.unwrap();
    assert!(!store.sweep(at(99)).await.unwrap());
    let last = answers.begin(begin(1, "m-2", 99)).await;
    assert_eq!(last, Ok(Begun::Answered(answer("a"))));
    assert_eq!(answers.begin(begin(1, "m-3", 100)).await, Ok(Begun::First));
    let finished = answers.finish([1; 32], "m-1".into(), answer("late"), at(101));
    finished.await.unwrap();
    let again = answers.begin(begin(1, "m-4", 199)).await;
    assert_eq!(again, Ok(Begun::Unanswered("m-3".into())));
    assert_eq!(answers.kept().keys, 1);
    store.close().await;
}

#[tokio::test]
async fn what_has_expired_is_swept_in_portions_on_every_route() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let routes = ["a", "ab", "b"].map(|route| of(&store, route, u64::MAX));
    for route in &routes {
        let all = (0..150_u8).map(|key| route.begin(begin(key, "m", u64::from(key / 100))));
        for begun in futures_util::future::join_all(all).await {
            assert_eq!(begun, Ok(Begun::First));
        }
    }
    store.close().await;
    // One route is no longer configured.
    let store = Store::open(folder.path()).unwrap();
    let routes = ["a", "b"].map(|route| of(&store, route, u64::MAX));
    assert_eq!(
        routes[0].kept().keys,
        150,
        "known without reading the records"
    );
    assert!(!store.sweep_due(at(99)).await.unwrap(), "none is due");
    assert!(store.sweep_due(at(100)).await.unwrap(), "300 are due");
    assert!(!store.sweep(at(100)).await.unwrap());
    for route in &routes {
        assert_eq!(route.kept().keys, 50);
    }
    while store.sweep_due(at(101)).await.unwrap() {}
    let all = ["a", "ab", "b"].map(|route| of(&store, route, u64::MAX).kept());
    assert_eq!(all, [Kept::default(); 3]);
    store.close().await;
}

#[tokio::test]
async fn a_full_route_takes_new_keys_once_old_ones_have_expired() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let answers = of(&store, "orders", u64::MAX);
    answers.begin(begin(0, "m", 0)).await.unwrap();
    let each = answers.kept().bytes;
    let answers = of(&store, "orders", each * 3);
    answers.begin(begin(1, "m", 10)).await.unwrap();
    answers.begin(begin(2, "m", 20)).await.unwrap();
    assert_eq!(answers.begin(begin(3, "m", 99)).await, Err(Refused::Full));
    assert_eq!(answers.begin(begin(3, "m", 100)).await, Ok(Begun::First));
    assert_eq!(answers.begin(begin(4, "m", 100)).await, Err(Refused::Full));

    // A small answer has its room; a large one must find some.
    let small = answers.finish([3; 32], "m".into(), answer("small"), at(100));
    small.await.unwrap();
    assert_eq!(answers.kept().bytes, each * 3);
    let large = answer(vec![0; 1000]);
    let refused = answers.finish([2; 32], "m".into(), large.clone(), at(105));
    assert_eq!(refused.await, Err(Refused::Full));
    let still = answers.begin(begin(2, "m", 105)).await;
    assert_eq!(still, Ok(Begun::Unanswered("m".into())));
    let wide = of(&store, "orders", each * 3 + 600);
    let finished = wide.finish([2; 32], "m".into(), large.clone(), at(110));
    assert_eq!(finished.await, Ok(()), "another key's time was over");
    let known = wide.begin(begin(2, "m", 110)).await;
    assert_eq!(known, Ok(Begun::Answered(large)));
    store.close().await;
}

#[tokio::test]
async fn routes_know_nothing_of_each_other() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let (one, other) = (of(&store, "a", u64::MAX), of(&store, "ab", u64::MAX));
    one.begin(begin(1, "m", 0)).await.unwrap();
    assert_eq!(other.begin(begin(1, "n", 0)).await, Ok(Begun::First));
    one.release([1; 32], "m".into()).await.unwrap();
    assert_eq!(other.kept().keys, 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_the_first() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let answers = of(&store, "orders", u64::MAX);
    let calls = (0..64).map(|n| answers.begin(begin(1, &format!("m-{n}"), 0)));
    let begun = futures_util::future::join_all(calls).await;
    let firsts = begun.iter().filter(|found| **found == Ok(Begun::First));
    assert_eq!(firsts.count(), 1);
    store.close().await;
}

/// Writes `record` where the key's is.
async fn overwrite(store: &Store, key: Digest, record: &'static [u8]) {
    let change = move |tables: &mut Tables<'_>| tables.overwrite("orders", &key, record);
    let written = store.commands.write(
        crate::store::command::Effect::Grows,
        0,
        move |tables| change(tables.answers()?),
        |()| {},
    );
    written.await.unwrap();
}

#[tokio::test]
async fn a_damaged_record_makes_its_key_new_and_hurts_no_other() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let answers = of(&store, "orders", u64::MAX);
    for key in [1, 2] {
        answers.begin(begin(key, "m-1", 0)).await.unwrap();
        overwrite(&store, [key; 32], b"damaged").await;
    }
    assert_eq!(answers.begin(begin(1, "m-2", 50)).await, Ok(Begun::First));
    assert!(!store.sweep(at(100)).await.unwrap());
    let known = answers.begin(begin(1, "m-3", 100)).await;
    assert_eq!(
        known,
        Ok(Begun::Unanswered("m-2".into())),
        "not swept with the old"
    );
    assert_eq!(answers.kept().keys, 1, "the one nobody asked for was swept");
    store.close().await;
}

// === Any interleaving ===

#[derive(Debug, Clone)]
enum Step {
    Begin { key: u8, fingerprint: u8 },
    Finish { key: u8, size: u16 },
    Release { key: u8 },
    Wait(u64),
    Sweep,
    Crash,
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = 0..4_u8;
    prop_oneof![
        6 => (key.clone(), 0..2_u8).prop_map(|(key, fingerprint)| Step::Begin { key, fingerprint }),
        3 => (key.clone(), 0..600_u16).prop_map(|(key, size)| Step::Finish { key, size }),
        1 => key.prop_map(|key| Step::Release { key }),
        2 => (1..60_u64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

#[derive(Debug, Clone)]
struct Known {
    expires: u64,
    fingerprint: u8,
    id: String,
    answer: Option<Answer>,
}

/// The same, in memory.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    calls: u32,
    keys: HashMap<u8, Known>,
}

impl Model {
    fn begin(&mut self, key: u8, fingerprint: u8) -> (Begin, Begun) {
        self.calls += 1;
        let id = format!("m-{}", self.calls);
        let mut asked = begin(key, &id, self.now);
        asked.fingerprint = [fingerprint; 32];
        if self
            .keys
            .get(&key)
            .is_some_and(|known| known.expires <= self.now)
        {
            self.keys.remove(&key);
        }
        let begun = match self.keys.get(&key) {
            Some(known) if known.fingerprint != fingerprint => Begun::Conflict,
            Some(Known {
                answer: Some(answer),
                ..
            }) => Begun::Answered(answer.clone()),
            Some(known) => Begun::Unanswered(known.id.as_str().into()),
            None => {
                let expires = self.now + TTL.as_secs();
                let known = Known {
                    expires,
                    fingerprint,
                    id,
                    answer: None,
                };
                self.keys.insert(key, known);
                Begun::First
            }
        };
        (asked, begun)
    }

    fn id(&self, key: u8) -> ShortString {
        self.keys.get(&key).map_or("m-0", |known| &known.id).into()
    }
}

async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut folder = folder();
    let mut store = Store::open(folder.path()).unwrap();
    let mut model = Model::default();
    for step in steps {
        let answers = of(&store, "orders", u64::MAX);
        match step {
            Step::Begin { key, fingerprint } => {
                let (asked, begun) = model.begin(key, fingerprint);
                prop_assert_eq!(answers.begin(asked).await, Ok(begun));
            }
            Step::Finish { key, size } => {
                let answer = answer(vec![b'x'; size.into()]);
                let finished =
                    answers.finish([key; 32], model.id(key), answer.clone(), at(model.now));
                prop_assert_eq!(finished.await, Ok(()));
                if let Some(known) = model.keys.get_mut(&key) {
                    known.answer.get_or_insert(answer);
                }
            }
            Step::Release { key } => {
                prop_assert_eq!(answers.release([key; 32], model.id(key)).await, Ok(()));
                model
                    .keys
                    .retain(|at, known| *at != key || known.answer.is_some());
            }
            Step::Wait(seconds) => model.now += seconds,
            Step::Sweep => {
                prop_assert_eq!(store.sweep(at(model.now)).await, Ok(false));
                model.keys.retain(|_, known| known.expires > model.now);
            }
            Step::Crash => {
                let left = crashed(&folder);
                store.close().await;
                folder = left;
                store = Store::open(folder.path()).unwrap();
            }
            Step::Restart => {
                store.close().await;
                store = Store::open(folder.path()).unwrap();
            }
        }
        prop_assert_eq!(of(&store, "orders", 1).kept().keys, model.keys.len() as u64);
    }
    for key in model.keys.keys().copied().collect::<Vec<_>>() {
        let fingerprint = model.keys[&key].fingerprint;
        let (asked, begun) = model.begin(key, fingerprint);
        prop_assert_eq!(of(&store, "orders", u64::MAX).begin(asked).await, Ok(begun));
    }
    while store.sweep(at(model.now + 1000)).await.unwrap() {}
    prop_assert_eq!(of(&store, "orders", 1).kept(), Kept::default());
    store.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_with_crashes_keeps_exactly_what_was_promised(
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(steps))?;
    }
}

// === Records ===

fn any_record() -> impl Strategy<Value = Record> {
    let header = ("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}");
    let headers = prop::collection::vec(header, 0..6);
    let answer = (100..1000_u16, headers, any::<Vec<u8>>());
    let head = (any::<u64>(), any::<Digest>(), "[ -~]{0,255}");
    (head, prop::option::of(answer)).prop_map(|((expires, fingerprint, id), answer)| Record {
        expires,
        fingerprint,
        message_id: id.as_str().into(),
        answer: answer.map(|(status, lines, body)| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let name: http::HeaderName = name.parse().unwrap();
                headers.append(name, HeaderValue::from_str(&value).unwrap());
            }
            Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: body.into(),
            }
        }),
    })
}

proptest! {
    #[test]
    fn every_record_comes_back_exactly(record in any_record()) {
        let bytes = record.encode().unwrap();
        prop_assert_eq!(Record::expires_of(&bytes), Some(record.expires));
        prop_assert_eq!(Record::decode(&bytes), Some(record));
    }

    #[test]
    fn any_changed_bit_or_missing_end_is_seen(
        record in any_record(),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut bytes = record.encode().unwrap();
        let place = place.index(bytes.len());
        prop_assert!(Record::decode(&bytes[..place]).is_none());
        bytes[place] ^= 1 << bit;
        prop_assert!(Record::decode(&bytes).is_none());
    }
}

/// The first version of the format, byte by byte: stores that exist must stay readable.
#[test]
fn the_format_is_as_it_was() {
    let mut headers = HeaderMap::new();
    headers.insert("a", HeaderValue::from_static("b"));
    let record = Record {
        expires: 0x0102,
        fingerprint: [7; 32],
        message_id: "m".into(),
        answer: Some(Answer {
            status: StatusCode::ACCEPTED,
            headers,
            body: Bytes::from_static(b"hi"),
        }),
    };
    let mut expected = vec![1, 2, 1, 0, 0, 0, 0, 0, 0];
    expected.extend([7; 32]);
    expected.extend([1, b'm', 1, 202, 0, 1, 0]);
    expected.extend([1, 0, 0, 0, b'a', 1, 0, 0, 0, b'b', b'h', b'i']);
    assert_eq!(record.encode().unwrap()[4..], expected);
}
