//! Long work, and work that is cut off: nothing is held for long, nothing is counted twice, and
//! what is not known is said.

use std::{collections::BTreeSet, time::Duration};

use hareway::{
    amqp::parked::{self, Deed, Destination, Filter, Holding, Job, Report, Tally},
    config::{self, Sources, raw::ProcessEnvironment},
};
use lapin::types::AMQPValue;
use tokio_util::sync::CancellationToken;

use super::{
    STRANGE, Tool,
    breaker::{ACK, Breaker, CANCEL},
    fill, parked, quorum,
};
use crate::support::{Rig, amqp::Got};

/// The tool as a part of this process.
async fn open(tool: &Tool, holding: Holding) -> parked::Tool {
    let sources = Sources {
        files: tool.files.to_vec(),
        ..Sources::default()
    };
    let loaded = config::load(&sources, &ProcessEnvironment::default());
    let config = loaded.unwrap_or_else(|errors| panic!("{errors:?}")).config;
    let opened = parked::Tool::open(&config.amqp).await;
    opened.expect("the broker").holding(holding)
}

fn ids(messages: &[Got]) -> BTreeSet<String> {
    let ids: BTreeSet<String> = messages
        .iter()
        .map(|got| got.message_id().to_owned())
        .collect();
    assert_eq!(ids.len(), messages.len(), "some are there twice");
    ids
}

/// Brokers close the channel of whoever keeps a message for 30 minutes. Between two turns that are
/// a quarter of an hour apart, every message is in its queue, for others to see.
#[tokio::test]
async fn a_slow_replay_holds_nothing_between_its_turns() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    for (name, arguments) in [("classic", Vec::new()), ("quorum", quorum(Some(20)))] {
        let queue = rig.name(name);
        rig.amqp().queue(&queue, &arguments).await;
        let work = rig.queue("work").await;
        fill(&rig, &queue, 20).await;
        for words in [&["--all"][..], &["--reason", "exhausted"]] {
            let words = [&["replay", "--queue", &queue, "--rate", "4/h"], words].concat();
            let before = rig.amqp().counts(&queue).await.unwrap().messages;
            let child = tool.start(&words);
            rig.settles_at(&work, 1).await;
            rig.settles_at(&queue, before - 1).await;
            super::interrupt(&child);
            let ran = super::Ran::from(child.wait_with_output().await.unwrap()).expect(1);
            assert!(ran.err.contains("interrupted"), "{}", ran.err);
            assert!(ran.out.starts_with("replayed 1, failed 0, "), "{}", ran.out);
            rig.amqp().purge(&work).await;
        }
    }
}

/// Twelve messages in three kinds, as many of each: to be left alone, to be replayed, and with
/// nowhere to go.
async fn three_kinds(rig: &Rig, queue: &str) {
    let (work, absent) = (rig.queue("work").await, rig.name("absent"));
    for n in 0..12 {
        let (origin, reason) = match n % 3 {
            0 => (&work, "rejected"),
            1 => (&absent, "exhausted"),
            _ => (&work, "exhausted"),
        };
        let properties = parked(&format!("m{n:02}"), origin, reason, 500, 5);
        rig.amqp().send(queue, properties, b"x").await;
    }
}

/// A round for each message; and no wait with a message in hand.
const AT_ONCE: Holding = Holding {
    round: Duration::ZERO,
    wait: Duration::ZERO,
};

async fn replay(tool: &parked::Tool, job: &Job) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    let mut report = |report: Report<'_>| {
        if let Report::Failed { facts, .. } = report {
            failed.push(facts.id.clone().expect("an id"));
        }
    };
    let stop = CancellationToken::new();
    let walking = tool.walk(job, &stop, &mut tally, &mut report);
    walking.await.expect("it comes to its end");
    (tally, failed)
}

/// However often everything is given back and taken again meanwhile, each message is looked at,
/// tried and counted once, also where it is put back as a copy.
#[tokio::test]
async fn a_message_counts_once_in_many_rounds() {
    let rig = Rig::new().await;
    let words = Tool::stranger(&rig);
    let tool = open(&words, AT_ONCE).await;
    for (name, arguments, pace) in [
        ("classic", Vec::new(), None),
        ("paced", Vec::new(), "20/s".parse().ok()),
        ("quorum", quorum(Some(20)), None),
        ("worn", quorum(Some(4)), None),
        ("worn-paced", quorum(Some(4)), "20/s".parse().ok()),
    ] {
        let queue = rig.name(name);
        rig.amqp().queue(&queue, &arguments).await;
        three_kinds(&rig, &queue).await;
        let to = Destination::Origin;
        let job = Job {
            queue: queue.clone(),
            filter: Filter {
                reason: Some("exhausted".to_owned()),
                ..Filter::default()
            },
            limit: None,
            deed: Deed::Replay { to, pace },
        };
        let (tally, mut failed) = replay(&tool, &job).await;
        let expected = Tally {
            messages: 12,
            scanned: 12,
            matched: 8,
            replayed: 4,
            failed: 4,
            ..Tally::default()
        };
        assert_eq!(tally, expected, "{name}");
        failed.sort_unstable();
        assert_eq!(failed, ["m01", "m04", "m07", "m10"], "{name}");
        let replayed = ids(&rig.amqp().drain(&rig.name("work")).await);
        assert!(
            replayed.iter().eq(["m02", "m05", "m08", "m11"]),
            "{name}: {replayed:?}"
        );
        rig.settles_at(&queue, 8).await;
        assert_eq!(ids(&rig.amqp().drain(&queue).await).len(), 8, "{name}");
    }
    tool.close().await;
}

/// A limit is over all rounds.
#[tokio::test]
async fn a_limit_is_over_all_rounds() {
    let rig = Rig::new().await;
    let words = Tool::stranger(&rig);
    let tool = open(&words, AT_ONCE).await;
    let queue = rig.queue("q").await;
    three_kinds(&rig, &queue).await;
    let to = Destination::Origin;
    let job = Job {
        queue: queue.clone(),
        filter: Filter {
            status: "5xx".parse().ok(),
            ..Filter::default()
        },
        limit: Some(8),
        deed: Deed::Replay {
            to,
            pace: "20/s".parse().ok(),
        },
    };
    let (tally, failed) = replay(&tool, &job).await;
    // Of the first eight, three have nowhere to go.
    assert_eq!((tally.matched, tally.replayed, tally.failed), (8, 5, 3));
    assert_eq!((tally.scanned, tally.remaining), (8, 4));
    assert_eq!(failed, ["m01", "m04", "m07"]);
    rig.settles_at(&queue, 7).await;
    tool.close().await;
}

/// An acknowledgement is not answered: one that was written before the connection broke is not
/// taken for a message that is gone.
#[tokio::test]
async fn a_lost_acknowledgement_is_no_discard() {
    let rig = Rig::new().await;
    let breaker = Breaker::start(rig.url(), ACK).await;
    let tool = Tool::at(&rig, &breaker.url(rig.url()), STRANGE);
    let queue = rig.queue("q").await;
    let (ran, tally) = discard_ten(&rig, &tool, &queue).await;
    assert_eq!(tally["discarded"], 0, "{tally}");
    let unknown = tally["unknown"].as_u64().unwrap();
    assert!((1..=10).contains(&unknown), "{tally}");
    let said = format!("shown that {unknown} messages are off `{queue}`");
    assert!(ran.err.contains(&said), "{}", ran.err);
    rig.settles_at(&queue, 10).await;
    // A replay has confirmed its copy; whether the message is gone is not known.
    let work = rig.queue("work").await;
    let words = ["replay", "--queue", &queue, "--id", "m00000", "--json"];
    let ran = tool.run(&words).await.expect(1);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let tally = &document["tally"];
    assert_eq!(
        (&tally["replayed"], &tally["unknown"]),
        (&1.into(), &1.into())
    );
    rig.settles_at(&work, 1).await;
    rig.settles_at(&queue, 10).await;
}

/// Nor is the end of the consumer an answer to what was acknowledged before it, where the
/// connection ends with it.
#[tokio::test]
async fn a_lost_cancel_shows_no_discard() {
    let rig = Rig::new().await;
    let breaker = Breaker::start(rig.url(), CANCEL).await;
    let tool = Tool::at(&rig, &breaker.url(rig.url()), STRANGE);
    let queue = rig.queue("q").await;
    let (_, tally) = discard_ten(&rig, &tool, &queue).await;
    assert_eq!(
        (&tally["discarded"], &tally["unknown"]),
        (&0.into(), &10.into()),
        "{tally}"
    );
}

/// Discards ten messages, which fails; what is told of it.
async fn discard_ten(rig: &Rig, tool: &Tool, queue: &str) -> (super::Ran, serde_json::Value) {
    fill(rig, queue, 10).await;
    let words = ["discard", "--queue", queue, "--all", "--yes", "--json"];
    let ran = tool.run(&words).await.expect(1);
    let mut document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let tally = document["tally"].take();
    (ran, tally)
}

/// A queue whose only active consumer is somebody else: no wait without end, and it says so.
#[tokio::test]
async fn a_queue_that_another_consumer_has_is_named() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.name("q");
    let single = [("x-single-active-consumer", AMQPValue::Boolean(true))];
    rig.amqp().queue(&queue, &single).await;
    let (_channel, _consumer) = rig.amqp().consume(&queue, 1).await;
    fill(&rig, &queue, 3).await;
    rig.settles_at(&queue, 2).await;
    let ran = tool.run(&["list", "--queue", &queue]).await.expect(1);
    let said = format!("2 messages in queue `{queue}` and delivers none of them here");
    assert!(ran.err.contains(&said), "{}", ran.err);
    rig.settles_at(&queue, 2).await;
}
