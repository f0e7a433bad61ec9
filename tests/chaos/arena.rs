//! Plays rows, round by round, each on a node that earlier rounds have not spoiled.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::Arguments,
    rows::{self, Pace, Row},
    support::{Broker, broker::Setup},
    tally::Tally,
};

/// What a round is given.
#[derive(Debug, Clone)]
pub struct Stage {
    pub broker: Arc<Broker>,
    /// The broker's.
    pub version: String,
    /// The folder with that broker, where it is not the system's.
    pub root: Option<PathBuf>,
    /// All chance of the round comes from it.
    pub seed: u64,
}

/// A row after its rounds.
#[derive(Debug, Clone)]
pub struct Finished {
    pub row: &'static Row,
    /// The broker's.
    pub version: String,
    /// Played.
    pub rounds: u32,
    pub sum: Tally,
    /// One entry for each failed round.
    pub failures: Vec<String>,
    /// Why it was not played.
    pub skipped: Option<String>,
}

impl Finished {
    pub fn holds(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Stage {
    pub fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }
}

/// Every row that is wanted, on each version of the broker that is there. Most of a round is waiting,
/// so the versions are played side by side, and so are slow and quick rows, the latter in two halves
/// where there are cores for it. No round begins after `stop`.
pub async fn play(arguments: &Arguments, stop: &CancellationToken) -> Vec<Finished> {
    println!("seed {}", arguments.seed);
    let mut roots = vec![None];
    if arguments.full {
        roots.extend(std::env::var_os("HAREWAY_CHAOS_ROOT").map(|root| Some(root.into())));
    }
    let in_form = |row: &&Row| arguments.full || row.short || !arguments.rows.is_empty();
    let wanted = rows::ALL.iter().filter(in_form);
    let wanted = wanted.filter(|row| arguments.wants(row.name));
    let (quick, slow): (Vec<_>, Vec<_>) = wanted.partition(|row| row.pace == Pace::Quick);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (even, odd) = alternate(quick, arguments.full && cores >= 4);
    let tracks = roots.into_iter().flat_map(|root| {
        let parts = [even.clone(), odd.clone(), slow.clone()];
        parts.map(|rows| play_rows(root.clone(), rows, arguments, stop))
    });
    let mut finished = join_all(tracks).await.concat();
    // By row, each with its versions side by side.
    finished
        .sort_by_key(|one: &Finished| rows::ALL.iter().position(|row| row.name == one.row.name));
    finished
}

/// One after the other into two, or all into the first.
fn alternate<T>(all: Vec<T>, both: bool) -> (Vec<T>, Vec<T>) {
    let (even, odd): (Vec<_>, Vec<_>) = all
        .into_iter()
        .enumerate()
        .partition(|(number, _)| !both || number % 2 == 0);
    let plain = |part: Vec<(usize, T)>| part.into_iter().map(|(_, one)| one).collect();
    (plain(even), plain(odd))
}

/// The first round of every row, then the second, and so on: a run that is ended early has something
/// of each.
async fn play_rows(
    root: Option<PathBuf>,
    rows: Vec<&'static Row>,
    arguments: &Arguments,
    stop: &CancellationToken,
) -> Vec<Finished> {
    let mut node = Node {
        root,
        running: None,
    };
    let mut finished: Vec<_> = rows.into_iter().map(Finished::new).collect();
    let most = finished.iter().map(|one| arguments.rounds_of(one.row.pace));
    for round in 1..=most.max().unwrap_or(0) {
        for one in &mut finished {
            let due = round <= arguments.rounds_of(one.row.pace) && one.skipped.is_none();
            if due && !stop.is_cancelled() {
                one.play_round(round, arguments, &mut node).await;
            }
        }
    }
    finished.retain(|one| one.rounds > 0 || one.skipped.is_some());
    finished
}

impl Finished {
    fn new(row: &'static Row) -> Self {
        Self {
            row,
            version: String::new(),
            rounds: 0,
            sum: Tally::default(),
            failures: Vec::new(),
            skipped: None,
        }
    }

    async fn play_round(&mut self, round: u32, arguments: &Arguments, node: &mut Node) {
        let (broker, version) = node.get().await;
        self.version.clone_from(&version);
        let name = self.row.name;
        let stage = Stage {
            broker: broker.clone(),
            version,
            root: node.root.clone(),
            seed: seed_of(arguments.seed, name, round),
        };
        self.skipped = (self.row.skip)(&stage);
        if let Some(why) = &self.skipped {
            println!("{name} on {}: not played, {why}", stage.version);
            return;
        }
        self.rounds += 1;
        let begun = Instant::now();
        // Its panic is this round's failure, and nobody else's.
        let played = AssertUnwindSafe((self.row.play)(stage));
        let played = played.catch_unwind().await;
        let took = begun.elapsed();
        let failures = match played {
            Ok(tally) => {
                self.sum.add(&tally);
                tally.violations(self.row.repeats)
            }
            Err(panic) => vec![panic_text(&*panic)],
        };
        let word = if failures.is_empty() { "ok" } else { "FAILED" };
        let of = arguments.rounds_of(self.row.pace);
        let version = &self.version;
        println!("{name} on {version} {round}/{of}: {word} in {took:.1?}");
        if !failures.is_empty() {
            let text = failures.join("\n  ");
            let again = format!("--row {name} --seed {}", arguments.seed);
            self.failures
                .push(format!("{name} round {round} ({again}):\n  {text}"));
            let list = ["list_queues", "name", "state", "messages", "consumers"];
            let listed = AssertUnwindSafe(broker.ctl(&list)).catch_unwind().await;
            eprintln!("the broker's queues:\n{}", listed.unwrap_or_default());
            // Whatever state it is in.
            node.replace();
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_else(|| "it panicked".to_owned())
}

/// The same for the same three, and nothing alike for others.
fn seed_of(seed: u64, row: &str, round: u32) -> u64 {
    let name = row.bytes().fold(seed, |sum, byte| {
        sum.wrapping_mul(0x0100_0000_01b3)
            .wrapping_add(u64::from(byte))
    });
    fastrand::Rng::with_seed(name.wrapping_add(u64::from(round))).u64(..)
}

/// The node that rows share one after the other.
#[derive(Debug)]
struct Node {
    root: Option<PathBuf>,
    running: Option<(Arc<Broker>, String)>,
}

impl Node {
    async fn get(&mut self) -> (Arc<Broker>, String) {
        if let Some((broker, version)) = &self.running {
            return (broker.clone(), version.clone());
        }
        let setup = Setup {
            env: in_root(self.root.as_deref()),
            ..Setup::default()
        };
        let broker = Arc::new(Broker::further(setup).await);
        let version = broker.ctl(&["version"]).await;
        self.running = Some((broker.clone(), version.clone()));
        (broker, version)
    }

    fn replace(&mut self) {
        self.running = None;
    }
}

/// What tells the script to run the broker of that folder.
pub fn in_root(root: Option<&Path>) -> Vec<(&'static str, String)> {
    let root = root.map(|root| root.to_str().expect("UTF-8").to_owned());
    root.map(|root| ("HAREWAY_BROKER_ROOT", root))
        .into_iter()
        .collect()
}
