//! What the pure parts cost, counted and not timed: allocations, and instructions as `valgrind`
//! counts them. Both are the same on a busy machine, so a bound that is broken is a change of the
//! code. Needs no broker.
#![allow(clippy::expect_used, reason = "a test's helpers fail the test")]
#![allow(clippy::indexing_slicing, reason = "a test's helpers fail the test")]
#![allow(clippy::panic, reason = "a test's helpers fail the test")]

#[path = "../benches/cases/mod.rs"]
mod cases;

use std::{collections::BTreeMap, env, hint::black_box, process::Command};

use allocation_counter::measure;
use hareway::{config, message, server, telemetry};
use http::{HeaderMap, HeaderName, HeaderValue};

use cases::{
    configuration::Configuration, mapping::Mapping, rendering::Rendering, replies::Waiting,
    routing::Routing,
};

/// Names the work that a copy of this program does under `valgrind`.
const WORK: &str = "HAREWAY_COST_WORK";
/// Often enough that what comes once is lost in it.
const TIMES: usize = 64;

// === allocations ===

#[test]
fn a_request_costs_few_allocations() {
    let mut routing = Routing::new(10_000);
    let mapping = Mapping::new();
    let rendering = Rendering::new();
    // Counted when this was written: 2, 2, 7, 13, 25, 51.
    at_most("finding a route", 3, || routing.find());
    at_most("a routing key", 3, || rendering.key());
    at_most("a URL", 8, || rendering.url());
    at_most("a value of a JSON body", 15, || rendering.json());
    at_most("request to message", 28, || mapping.to_message());
    at_most("message to request", 55, || mapping.to_request());
}

#[test]
fn a_call_that_waits_costs_few_allocations() {
    let waiting = Waiting::new(1_000);
    at_most("register and resolve", 9, || waiting.answer());
}

#[test]
fn many_routes_are_loaded_in_proportion() {
    let few = allocations(&|| Configuration::new(100).load());
    let many = allocations(&|| Configuration::new(1_000).load());
    assert!(
        many < few * 11,
        "100 routes: {few} allocations, 1,000: {many}"
    );
}

/// The median: some of many times make room for those after them.
fn at_most<T>(what: &str, bound: u64, mut work: impl FnMut() -> T) {
    let counts = (0..TIMES).map(|_| {
        let counted = measure(|| {
            black_box(work());
        });
        counted.count_total
    });
    let median = median(counts.collect());
    assert!(
        median <= bound,
        "{what}: {median} allocations, at most {bound} are expected"
    );
}

fn allocations<T>(work: &dyn Fn() -> T) -> u64 {
    let counted = measure(|| {
        black_box(work());
    });
    counted.count_total
}

fn median(mut counts: Vec<u64>) -> u64 {
    counts.sort_unstable();
    counts[counts.len() / 2]
}

// === instructions ===

#[test]
fn thousands_of_routes_are_searched_like_one() {
    let (one, many) = (instructions("router 1"), instructions("router 2000"));
    assert!(
        many * 2 < one * 3,
        "one route: {one} instructions, 2,000: {many}"
    );
}

/// Routing, routing key and properties; 10,000 routes are searched hardly deeper than 2,000, and
/// take much longer to set up under `valgrind`.
#[test]
fn a_request_costs_the_same_among_thousands_of_routes() {
    let (one, many) = (instructions("request 1"), instructions("request 2000"));
    assert!(
        many * 100 <= one * 105,
        "one route: {one} instructions, 2,000: {many}"
    );
}

#[test]
fn a_reply_finds_its_call_among_many() {
    let (none, many) = (instructions("replies 0"), instructions("replies 1000"));
    assert!(
        many * 10 < none * 13,
        "nobody else waits: {none} instructions, 1,000 wait: {many}"
    );
}

#[test]
fn a_route_costs_the_same_to_load_among_many() {
    let (few, many) = (
        instructions("configuration 20"),
        instructions("configuration 100"),
    );
    assert!(many < few * 6, "20 routes: {few} instructions, 100: {many}");
}

/// What each part costs, in units of [`yardstick`]: another compiler changes both alike.
const COSTS: [(&str, f64); 7] = [
    ("router 1", 0.0448),
    ("key 0", 0.0281),
    ("url 0", 0.1286),
    ("json 0", 0.1485),
    ("to-message 0", 0.3895),
    ("to-request 0", 0.8004),
    ("replies 0", 0.1158),
];
/// Between what was counted and what fails: room for compilers and libraries, not for work.
const MARGIN: f64 = 1.3;

#[test]
fn no_part_costs_clearly_more_than_it_did() {
    let unit = instructions("yardstick 0") as f64;
    let mut dearer = Vec::new();
    for (work, expected) in COSTS {
        let found = instructions(work) as f64 / unit;
        if found > expected * MARGIN {
            dearer.push(format!("{work}: {found:.4}, was {expected:.4}"));
        }
    }
    assert!(dearer.is_empty(), "in yardsticks: {dearer:?}");
}

/// What a guard is worth: work done twice is seen.
#[test]
fn work_done_twice_is_seen() {
    let (once, twice) = (instructions("to-message 0"), instructions("to-message 1"));
    assert!(
        twice as f64 > once as f64 * MARGIN,
        "once: {once} instructions, twice: {twice}"
    );
}

/// Instructions of [`counted_work`] in a copy of this program that runs only `work` under
/// `valgrind`.
fn instructions(work: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*counted_work*"])
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", "the_work_of_a_copy", "--ignored"])
        .env(WORK, work)
        .output()
        .expect("valgrind does not start: scripts/setup installs it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{work}: {text}");
    let line = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.unwrap_or_else(|| panic!("nothing was collected: {text}"));
    let count = count.trim().parse().expect("a number");
    assert!(count > 0, "the work was not found: {text}");
    count
}

#[test]
#[ignore = "only a copy of this program under valgrind runs it"]
fn the_work_of_a_copy() {
    let work = env::var(WORK).expect("the work's name");
    let (what, size) = work.split_once(' ').expect("what and how many");
    let size: usize = size.parse().expect("a number");
    let (rendering, mapping) = (Rendering::new(), Mapping::new());
    match what {
        "router" => {
            let mut routing = Routing::new(size);
            counted_work(&mut || assert!(routing.find() < size), TIMES);
        }
        "request" => {
            let mut routing = Routing::new(size);
            let mut request = || {
                black_box((routing.find(), rendering.key(), mapping.to_message()));
            };
            counted_work(&mut request, TIMES);
        }
        "replies" => {
            let waiting = Waiting::new(size);
            counted_work(&mut || waiting.answer(), TIMES);
        }
        "configuration" => {
            let configuration = Configuration::new(size);
            counted_work(&mut || assert_eq!(configuration.load(), size), 1);
        }
        "yardstick" => counted_work(
            &mut || {
                black_box(yardstick());
            },
            TIMES,
        ),
        "key" => counted_work(
            &mut || {
                black_box(rendering.key());
            },
            TIMES,
        ),
        "url" => counted_work(
            &mut || {
                black_box(rendering.url());
            },
            TIMES,
        ),
        "json" => counted_work(
            &mut || {
                black_box(rendering.json());
            },
            TIMES,
        ),
        "to-request" => counted_work(&mut || drop(black_box(mapping.to_request())), TIMES),
        "to-message" => {
            let times = TIMES * (size + 1);
            counted_work(&mut || drop(black_box(mapping.to_message())), times);
        }
        other => panic!("no such work: {other}"),
    }
}

/// Work of the same kinds, which no change of the bridge makes dearer: headers, texts and a map.
fn yardstick() -> usize {
    let mut headers = HeaderMap::new();
    let mut texts = BTreeMap::new();
    for number in 0..16 {
        let name = format!("x-header-{number}");
        let value = HeaderValue::from_str(&format!("value {number}")).expect("a value");
        headers.insert(HeaderName::try_from(name.as_str()).expect("a name"), value);
        texts.insert(name, number);
    }
    let texts = texts
        .iter()
        .filter(|(name, _)| headers.contains_key(name.as_str()));
    texts.map(|(name, number)| name.len() + number).sum()
}

#[inline(never)]
fn counted_work(work: &mut dyn FnMut(), times: usize) {
    for _ in 0..times {
        work();
    }
}
