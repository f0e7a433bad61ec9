//! Replaying and discarding: confirmed first, interruptible, beside others.

use std::collections::BTreeMap;

use hareway::config::names;
use lapin::types::AMQPValue;

use super::{Tool, dead_letter, fill, parked, quorum};
use crate::support::{
    Answer, Backend, Rig, SOON,
    amqp::{Got, text, with_id},
    eventually, must,
};

fn ids(messages: &[Got]) -> Vec<String> {
    messages
        .iter()
        .map(|got| got.message_id().to_owned())
        .collect()
}

/// Back to the work queue and to nothing else that its exchange feeds, in order, with a fresh
/// count of attempts and the history beside it.
#[tokio::test]
async fn a_replay_goes_to_the_work_queue_and_starts_anew() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    for (name, arguments) in [("classic", Vec::new()), ("quorum", quorum(Some(20)))] {
        let queue = rig.name(name);
        rig.amqp().queue(&queue, &arguments).await;
        let work = rig.queue("work").await;
        let ids_parked = fill(&rig, &queue, 150).await;
        let ran = tool
            .run(&["replay", "--queue", &queue, "--all"])
            .await
            .expect(0);
        assert_eq!(ran.out, "replayed 150, failed 0, looked at 150 of 150\n");
        rig.settles_at(&queue, 0).await;
        let replayed = rig.amqp().drain(&work).await;
        assert_eq!(ids(&replayed), ids_parked, "{name}");
        let got = &replayed[7];
        assert_eq!(got.body, b"m00007");
        assert_eq!(got.properties.delivery_mode(), &Some(2));
        for (header, value) in [
            ("hareway-replays", "1"),
            ("hareway-earlier-attempts", "3"),
            ("hareway-reason", "exhausted"),
            ("hareway-status", "503"),
            ("hareway-exchange", "orders"),
            ("hareway-routing-key", "order.placed"),
            ("x-tenant", "t-0"),
            ("hareway-attempt", ""),
            ("hareway-parked-at", ""),
            ("hareway-first-failed-at", ""),
            ("x-delivery-count", ""),
        ] {
            assert_eq!(got.header(header), value, "{header}");
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let at: u64 = got.header("hareway-replayed-at").parse().unwrap();
        assert!(now.unwrap().as_secs().abs_diff(at) < 300, "{at}");
    }
}

/// What the broker has dead-lettered itself says where it came from by `x-death`, which must not
/// go along: the broker would drop the message when it dies once more.
#[tokio::test]
async fn any_dead_letter_queue_can_be_replayed() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let (work, dead) = (rig.name("work"), rig.queue("dead").await);
    dead_letter(&rig, &work, &dead, ["a", "b"]).await;
    let listed = tool.json(&["list", "--queue", &dead]).await;
    let first = &listed["messages"][0];
    assert_eq!(first["reason"], "rejected");
    assert_eq!(first["origin"]["queue"], work);
    assert_eq!(first["origin"]["routing_key"], work);
    assert_eq!(first["attempts"], 1);
    assert!(first["parked_at"].is_string());
    let young = [
        "--queue",
        &dead,
        "--newer-than",
        "1h",
        "--reason",
        "rejected",
    ];
    assert_eq!(tool.ids(&young).await, ["a", "b"]);
    tool.run(&["replay", "--queue", &dead, "--id", "b"])
        .await
        .expect(0);
    rig.settles_at(&dead, 1).await;
    let got = rig.amqp().get(&work).await.expect("replayed");
    assert_eq!((got.message_id(), &*got.body), ("b", &b"body of b"[..]));
    assert_eq!(got.header("hareway-queue"), work);
    assert_eq!(got.header("hareway-reason"), "rejected");
    assert_eq!(got.header("hareway-earlier-attempts"), "1");
    let death = |name: &&str| name.starts_with("x-death") || name.starts_with("x-first");
    let names = got.headers().keys().map(|name| name.as_str());
    assert_eq!(names.filter(death).count(), 0, "{got:?}");
}

/// Elsewhere: a queue, or an exchange with the first routing key or another one.
#[tokio::test]
async fn a_replay_may_go_elsewhere() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let (queue, other) = (rig.queue("q").await, rig.queue("other").await);
    fill(&rig, &queue, 3).await;
    let to_queue = [
        "replay",
        "--queue",
        &queue,
        "--id",
        "m00001",
        "--to-queue",
        &other,
    ];
    tool.run(&to_queue).await.expect(0);
    rig.amqp().bind(&other, "amq.topic", "order.*").await;
    let to_exchange = [
        "replay",
        "--queue",
        &queue,
        "--id",
        "m00002",
        "--to-exchange",
        "amq.topic",
    ];
    tool.run(&to_exchange).await.expect(0);
    let with_key = [
        "replay",
        "--queue",
        &queue,
        "--all",
        "--to-exchange",
        "amq.topic",
    ];
    tool.run(&[&with_key[..], &["--routing-key", "order.again"]].concat())
        .await
        .expect(0);
    let got = rig.amqp().drain(&other).await;
    assert_eq!(ids(&got), ["m00001", "m00002", "m00000"]);
    let keys: Vec<_> = got.iter().map(|got| got.routing_key.as_str()).collect();
    assert_eq!(keys, [&other, "order.placed", "order.again"]);
}

/// What no queue takes, what a full queue refuses and what has no origin stays where it is, is
/// counted and named, and makes the exit code 1.
#[tokio::test]
async fn what_cannot_be_replayed_stays() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.queue("q").await;
    let full = rig.name("full");
    let one = [
        ("x-max-length", AMQPValue::LongLongInt(1)),
        ("x-overflow", text("reject-publish")),
    ];
    rig.amqp().queue(&full, &one).await;
    let absent = rig.name("absent");
    for (id, origin) in [("a", &full), ("b", &absent), ("c", &full), ("d", &queue)] {
        let properties = parked(id, origin, "exhausted", 500, 5);
        rig.amqp().send(&queue, properties, b"x").await;
    }
    rig.amqp().send(&queue, with_id("e"), b"x").await;
    let dry = ["replay", "--queue", &queue, "--all", "--dry-run"];
    let ran = tool.run(&dry).await.expect(1);
    assert_eq!(
        ran.out,
        format!(
            "a: to queue `{full}`\nb: to queue `{absent}`\nc: to queue `{full}`\n\
             d: it would go back to the queue that it is in\n\
             e: it does not say which queue it came from; name one\n\
             would replay 3, failed 2, looked at 5 of 5\n"
        )
    );
    let ran = tool
        .run(&["replay", "--queue", &queue, "--all"])
        .await
        .expect(1);
    assert_eq!(ran.out, "replayed 1, failed 4, looked at 5 of 5\n");
    for line in [
        format!("b: unroutable: queue `{absent}`"),
        format!("c: nacked: queue `{full}`"),
        "d: it would go back to the queue that it is in".to_owned(),
        "e: it does not say which queue it came from; name one".to_owned(),
    ] {
        assert!(
            ran.err.contains(&format!("stays in `{queue}`: {line}\n")),
            "{}",
            ran.err
        );
    }
    assert_eq!(ids(&rig.amqp().drain(&full).await), ["a"]);
    let mut left = ids(&rig.amqp().drain(&queue).await);
    left.sort();
    assert_eq!(left, ["b", "c", "d", "e"]);
}

/// A call that does not say which messages it means does nothing, and says what to add.
#[tokio::test]
async fn nothing_is_meant_by_accident() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.queue("q").await;
    fill(&rig, &queue, 3).await;
    for (words, says) in [
        (&["replay", "--queue", &queue][..], "`--all`"),
        (&["discard", "--queue", &queue, "--yes"], "`--all`"),
        (&["discard", "--queue", &queue, "--all"], "`--yes`"),
        (
            &["replay", "--queue", &queue, "--all", "--rate", "fast"],
            "50/s",
        ),
        (
            &["replay", "--queue", &queue, "--all", "--routing-key", "k"],
            "--to-exchange",
        ),
        (&["list", "--queue", &queue, "--status", "9xx"], "status"),
        (&["list", "--queue", &queue, "--older-than", "5"], "5"),
        (&["list"], "`--queue`"),
    ] {
        let ran = tool.run(words).await.expect(64);
        assert!(ran.err.contains(says), "{words:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{words:?}");
    }
    rig.settles_at(&queue, 3).await;
}

/// Only what matches is discarded, and a dry run discards nothing.
#[tokio::test]
async fn discarding_takes_what_matches() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.name("q");
    rig.amqp().queue(&queue, &quorum(Some(20))).await;
    fill(&rig, &queue, 10).await;
    let some = [
        "discard", "--queue", &queue, "--id", "m00003", "--id", "m00008",
    ];
    let dry = tool
        .run(&[&some[..], &["--dry-run"]].concat())
        .await
        .expect(0);
    assert_eq!(dry.out, "would discard 2, looked at 10 of 10\n");
    let ran = tool.run(&[&some[..], &["--yes"]].concat()).await.expect(0);
    assert_eq!(ran.out, "discarded 2, looked at 10 of 10\n");
    let limited = [
        "discard", "--queue", &queue, "--all", "--limit", "5", "--yes", "--json",
    ];
    let ran = tool.run(&limited).await.expect(0);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let tally = &document["tally"];
    assert_eq!(
        (&tally["discarded"], &tally["remaining"]),
        (&5.into(), &3.into())
    );
    // A quorum queue keeps its order only when it is looked at whole.
    let mut left = ids(&rig.amqp().drain(&queue).await);
    left.sort_unstable();
    assert_eq!(left, ["m00006", "m00007", "m00009"]);
}

/// Killed half way: every message is in the one queue or the other, and at most the one between
/// its confirm and its acknowledgement is in both, under the same id.
#[tokio::test]
async fn a_replay_that_is_killed_loses_nothing() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.name("q");
    rig.amqp().queue(&queue, &quorum(None)).await;
    let work = rig.queue("work").await;
    let parked = fill(&rig, &queue, 60).await;
    let mut child = tool.start(&["replay", "--queue", &queue, "--all", "--rate", "50/s"]);
    eventually(SOON, "some are replayed", async || {
        let counts = rig.amqp().counts(&work).await.unwrap();
        must(counts.messages >= 7, || format!("{counts:?}"))
    })
    .await;
    child.kill().await.unwrap();
    let replayed = rig.amqp().counts(&work).await.unwrap().messages;
    assert!(replayed < 60, "it was over before it was killed");
    eventually(SOON, "the rest is back", async || {
        let left = rig.amqp().counts(&queue).await.unwrap().messages;
        let replayed = rig.amqp().counts(&work).await.unwrap().messages;
        must(left + replayed >= 60, || format!("{left} and {replayed}"))
    })
    .await;
    tool.run(&["replay", "--queue", &queue, "--all"])
        .await
        .expect(0);
    rig.settles_at(&queue, 0).await;
    let mut times = BTreeMap::new();
    for id in ids(&rig.amqp().drain(&work).await) {
        *times.entry(id).or_insert(0) += 1;
    }
    assert_eq!(
        times.keys().collect::<Vec<_>>(),
        parked.iter().collect::<Vec<_>>()
    );
    assert!(times.values().sum::<i32>() <= 61, "{times:?}");
}

/// Interrupted, it finishes the one under way, gives the rest back, and says so: nothing twice.
#[tokio::test]
async fn a_replay_that_is_interrupted_duplicates_nothing() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.queue("q").await;
    let work = rig.queue("work").await;
    let parked = fill(&rig, &queue, 60).await;
    let child = tool.start(&["replay", "--queue", &queue, "--all", "--rate", "50/s"]);
    eventually(SOON, "some are replayed", async || {
        let counts = rig.amqp().counts(&work).await.unwrap();
        must(counts.messages >= 7, || format!("{counts:?}"))
    })
    .await;
    super::interrupt(&child);
    let ran = super::Ran::from(child.wait_with_output().await.unwrap()).expect(1);
    assert!(ran.err.contains("interrupted"), "{}", ran.err);
    let replayed = rig.amqp().drain(&work).await;
    assert!(replayed.len() < 60, "it was over before it was interrupted");
    let said = format!("replayed {}, failed 0", replayed.len());
    assert!(ran.out.starts_with(&said), "{said}: {}", ran.out);
    let left = rig.amqp().drain(&queue).await;
    assert_eq!([ids(&replayed), ids(&left)].concat(), parked);
}

/// Two tools at once share the messages: each goes out once.
#[tokio::test]
async fn two_tools_do_not_repeat_each_other() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.name("q");
    rig.amqp().queue(&queue, &quorum(Some(20))).await;
    let work = rig.queue("work").await;
    let parked = fill(&rig, &queue, 400).await;
    let words = ["replay", "--queue", &queue, "--all"];
    let (one, two) = tokio::join!(tool.run(&words), tool.run(&words));
    one.expect(0);
    two.expect(0);
    // What the one held and did not come to was not there for the other.
    tool.run(&words).await.expect(0);
    rig.settles_at(&queue, 0).await;
    let mut replayed = ids(&rig.amqp().drain(&work).await);
    replayed.sort();
    assert_eq!(replayed, parked);
}

/// Beside the running bridge: what its backend refused goes there again, and only once the
/// backend's mind has changed it does not come back.
#[tokio::test]
async fn a_running_bridge_takes_what_is_replayed() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(422));
    let yaml = format!(
        "routes: {{ PFX-fwd: {{ from: {{ amqp: PFX-work }}, to: {{ http: \"{}\" }} }} }}",
        backend.url("/")
    );
    let bridge = rig.bridge(&yaml).await;
    let tool = Tool::new(&rig, &yaml);
    let (work, queue) = (rig.name("work"), names::parked_queue(&rig.name("fwd")));
    for n in 0..20 {
        rig.amqp()
            .send(&work, with_id(&format!("m{n:02}")), b"x")
            .await;
    }
    rig.settles_at(&queue, 20).await;
    // Refused again: each comes back while the tool is at work, and is not taken up once more.
    tool.run(&["replay", "--reason", "rejected"])
        .await
        .expect(0);
    rig.settles_at(&queue, 20).await;
    assert_eq!(backend.requests().len(), 40);
    let listed = tool.json(&["list"]).await;
    assert_eq!(listed["messages"][0]["replays"], 1);
    assert_eq!(listed["messages"][0]["attempts"], 1);
    assert_eq!(listed["messages"][0]["earlier_attempts"], 1);
    backend.otherwise(Answer::ok());
    tool.run(&["replay", "--all"]).await.expect(0);
    rig.settles_at(&queue, 0).await;
    rig.settles_at(&work, 0).await;
    eventually(SOON, "all delivered", async || {
        let requests = backend.requests().len();
        must(requests == 60, || requests.to_string())
    })
    .await;
    drop(bridge);
}
