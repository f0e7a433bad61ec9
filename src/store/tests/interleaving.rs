//! Any interleaving of changes, crashes and restarts keeps exactly what was not taken out.

use proptest::prelude::*;

use super::{
    disk::{Change, Disk},
    *,
};

/// How many records there may be of a kind that a step names.
const MOST: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Append {
        body: usize,
    },
    /// Several at once, of which nobody can know the order.
    AppendAtOnce(usize),
    Remove(usize),
    RemoveBehind(usize),
    SetApart(usize),
    Return(usize),
    Discard(usize),
    Restart,
    /// What was written and not synced is kept as the bits say.
    Crash(u64),
}

/// What there should be: ids.
#[derive(Debug, Default)]
struct Model {
    line: Vec<String>,
    apart: Vec<String>,
    appended: usize,
}

fn any_step() -> impl Strategy<Value = Step> {
    let some = 1..MOST;
    prop_oneof![
        6 => prop_oneof![Just(0usize), 1..2000usize, 4000..40_000usize]
            .prop_map(|body| Step::Append { body }),
        1 => (2..20usize).prop_map(Step::AppendAtOnce),
        3 => some.clone().prop_map(Step::Remove),
        1 => some.clone().prop_map(Step::RemoveBehind),
        2 => some.clone().prop_map(Step::SetApart),
        1 => some.clone().prop_map(Step::Return),
        1 => some.prop_map(Step::Discard),
        1 => Just(Step::Restart),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

impl Model {
    fn id(&mut self) -> String {
        self.appended += 1;
        self.appended.to_string()
    }
}

async fn append(spool: &Spool, model: &mut Model, body: usize) {
    let mut message = message(&model.id());
    message.body = vec![b'x'; body].into();
    model.line.push(id(&message));
    spool.append(message).await.unwrap();
}

async fn append_at_once(spool: &Spool, model: &mut Model, some: usize) {
    let messages: Vec<Publish> = (0..some).map(|_| message(&model.id())).collect();
    let mut new: Vec<String> = messages.iter().map(id).collect();
    let appends = messages.into_iter().map(|message| spool.append(message));
    for stored in futures_util::future::join_all(appends).await {
        stored.unwrap();
    }
    let found = ids(&all(spool).await).split_off(model.line.len());
    let mut sorted = found.clone();
    sorted.sort();
    new.sort();
    assert_eq!(sorted, new);
    model.line.extend(found);
}

async fn take(step: &Step, spool: &Spool, model: &mut Model) {
    match *step {
        Step::Append { body } => append(spool, model, body).await,
        Step::AppendAtOnce(some) => append_at_once(spool, model, some).await,
        Step::Remove(some) => {
            let first = spool.first(some, u64::MAX).await.unwrap();
            model.line.drain(..first.len());
            spool.remove(keys(&first)).await.unwrap();
        }
        Step::RemoveBehind(some) => {
            let mut line = all(spool).await;
            let last = line.split_off(line.len().saturating_sub(some));
            model.line.truncate(line.len());
            spool.remove(keys(&last)).await.unwrap();
        }
        Step::SetApart(some) => {
            let first = spool.first(some, u64::MAX).await.unwrap();
            model.apart.extend(model.line.drain(..first.len()));
            spool.set_apart(keys(&first), "expired").await.unwrap();
        }
        Step::Return(some) => {
            let apart = spool.apart(None, some, u64::MAX).await.unwrap();
            model.line.extend(model.apart.drain(..apart.len()));
            let keys = apart.iter().map(|apart| apart.key).collect();
            let moved = spool.return_to_line(keys).await.unwrap();
            assert_eq!(moved, apart.len() as u64);
        }
        Step::Discard(some) => {
            let apart = spool.apart(None, some, u64::MAX).await.unwrap();
            model.apart.drain(..apart.len());
            let keys = apart.iter().map(|apart| apart.key).collect();
            assert_eq!(spool.discard(keys).await.unwrap(), apart.len() as u64);
        }
        Step::Restart | Step::Crash(_) => {}
    }
}

/// The disk after a crash: `start` and the log, of whose end, after the last sync, some is lost.
fn crashed(start: Vec<u8>, log: &[Change], bits: u64) -> Disk {
    let mut random = fastrand::Rng::with_seed(bits);
    let mut image = start;
    let last = log
        .iter()
        .rposition(|change| matches!(change, Change::Sync));
    for (at, change) in log.iter().enumerate() {
        let synced = last.is_some_and(|last| at < last);
        change.apply_some(&mut image, |_| synced || random.bool());
    }
    Disk::of(image)
}

async fn holds(spool: &Spool, model: &Model) {
    let line = all(spool).await;
    assert_eq!(ids(&line), model.line);
    let apart = spool.apart(None, usize::MAX, u64::MAX).await.unwrap();
    let stored = |apart: &Apart| id(&apart.stored.as_ref().unwrap().1);
    assert_eq!(apart.iter().map(stored).collect::<Vec<_>>(), model.apart);
    let usage = spool.usage();
    assert_eq!(usage.messages, model.line.len() as u64);
    assert_eq!(usage.apart, model.apart.len() as u64);
    assert_eq!(
        usage.apart_bytes,
        apart.iter().map(|apart| apart.bytes).sum::<u64>()
    );
    assert_eq!(usage.oldest, line.first().map(|first| first.stored_at));
    assert!((usage.bytes == 0) == line.is_empty());
}

async fn run(steps: Vec<Step>) {
    let (mut disk, mut model) = (Disk::new(), Model::default());
    let mut start = disk.forget();
    let mut store = disk.store().unwrap();
    for step in steps {
        let line = spool(&store, "orders");
        take(&step, &line, &mut model).await;
        let log = disk.log();
        match step {
            Step::Restart => store.close().await,
            Step::Crash(bits) => {
                let after = crashed(start.clone(), &log, bits);
                store.close().await;
                disk = after;
            }
            _ => {
                holds(&line, &model).await;
                continue;
            }
        }
        start = disk.forget();
        store = disk.store().unwrap();
        holds(&spool(&store, "orders"), &model).await;
    }
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_was_not_taken_out_is_kept_in_order(
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}
