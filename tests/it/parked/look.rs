//! Looking: what is told, and that it harms nothing.

use std::time::Duration;

use hareway::config::names;
use lapin::{
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;

use super::{Ran, Tool, dead_letter, fill, parked, quorum};
use crate::support::{
    Rig,
    amqp::{text, with_id},
};

/// More looks at a queue than its delivery limit allows: all is still there, and in its order.
#[tokio::test]
async fn looking_never_drops_a_message() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    for (name, arguments, looks) in [
        ("q20", quorum(Some(20)), 30),
        ("unset", quorum(None), 30),
        ("q3", quorum(Some(3)), 10),
        ("q1", quorum(Some(1)), 6),
        ("classic", Vec::new(), 4),
    ] {
        let queue = rig.name(name);
        rig.amqp().queue(&queue, &arguments).await;
        let ids = fill(&rig, &queue, 20).await;
        for round in 0..looks {
            let seen = tool.ids(&["--queue", &queue]).await;
            assert_eq!(seen, ids, "{name}, look {round}");
        }
        let left = rig.amqp().drain_many(&queue).await;
        let left: Vec<_> = left.iter().map(|got| got.message_id().to_owned()).collect();
        assert_eq!(left, ids, "{name}");
    }
}

/// What was sent ahead but not looked at has been delivered too, so it is counted by the broker:
/// looks that never come to it must not wear it down either.
#[tokio::test]
async fn looking_at_a_few_never_drops_the_others() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.name("q");
    rig.amqp().queue(&queue, &quorum(Some(4))).await;
    let mut ids = fill(&rig, &queue, 30).await;
    for _ in 0..15 {
        let few = ["--queue", &queue, "--limit", "3", "--reason", "exhausted"];
        assert_eq!(tool.ids(&few).await.len(), 3);
    }
    let left = rig.amqp().drain_many(&queue).await;
    let mut left: Vec<_> = left.iter().map(|got| got.message_id().to_owned()).collect();
    left.sort();
    ids.sort();
    assert_eq!(left, ids);
}

/// A copy that takes a message's place is the same in all that is not the broker's, and keeps what
/// the broker's headers told.
#[tokio::test]
async fn what_is_put_back_as_a_copy_is_the_same() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let (work, dead) = (rig.name("work"), rig.name("dead"));
    let limit_of_one = quorum(Some(1));
    rig.amqp().queue(&dead, &limit_of_one).await;
    dead_letter(&rig, &work, &dead, ["a"]).await;
    let before = tool.json(&["list", "--queue", &dead]).await;
    let whole = tool.json(&["show", "--queue", &dead]).await;
    let after = tool.json(&["list", "--queue", &dead]).await;
    assert_eq!(before, after);
    assert_eq!(
        whole["messages"][0]["properties"]["content_type"],
        "text/plain"
    );
    let got = rig.amqp().get(&dead).await.expect("the message");
    assert_eq!(got.message_id(), "a");
    assert_eq!(got.body, b"body of a");
    assert_eq!(got.header("x-tenant"), "acme");
    assert!(!got.header("hareway-renewed").is_empty(), "{got:?}");
    assert!(!got.headers().contains_key("x-death"));
}

/// The table, the document, the message whole, and its bytes.
#[tokio::test]
async fn messages_are_listed_and_shown() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.queue("q").await;
    let properties = parked("one", "work-queue", "rejected", 422, 7200)
        .with_content_type("text/plain".into())
        .with_priority(3);
    rig.amqp()
        .send(&queue, properties, b"line 1\nline \x1b[2J\n")
        .await;
    rig.amqp().send(&queue, with_id("two"), b"\xff\x00").await;
    let listed = tool.run(&["list", "--queue", &queue]).await.expect(0);
    let lines: Vec<_> = listed.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", listed.out);
    let words: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(words[..5], ["one", &queue, "rejected", "422", "3"]);
    assert_eq!(words[6..], ["(2h)", "17", "work-queue"]);
    let listed = tool.json(&["list", "--queue", &queue]).await;
    let one = &listed["messages"][0];
    assert_eq!(one["queue"], queue);
    assert_eq!(one["status"], 422);
    assert_eq!(one["last_error"], "status 503");
    assert_eq!(one["origin"]["routing_key"], "order.placed");
    assert_eq!(one["origin"]["route"], "fulfil");
    assert!(one["parked_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(listed["tally"]["matched"], 2);
    let shown = tool.json(&["show", "two", "--queue", &queue]).await;
    assert_eq!(shown["messages"][0]["body_base64"], "/wA=");
    let shown = tool.json(&["show", "one", "--queue", &queue]).await;
    let shown = &shown["messages"][0];
    assert_eq!(shown["body"], "line 1\nline \x1b[2J\n");
    assert_eq!(shown["headers"]["x-tenant"], "t-1");
    assert_eq!(shown["headers"]["hareway-attempt"], 3);
    assert_eq!(shown["properties"]["priority"], 3);
    let text = tool
        .run(&["show", "one", "--queue", &queue])
        .await
        .expect(0);
    assert!(
        text.out.contains("\nheader x-tenant: t-1\n"),
        "{}",
        text.out
    );
    assert!(
        text.out.ends_with("line 1\nline \\u{1b}[2J\n"),
        "{}",
        text.out
    );
    let mut raw = tool.command(&["show", "two", "--queue", &queue, "--raw"]);
    assert_eq!(raw.output().await.unwrap().stdout, b"\xff\x00");
    let none = tool
        .run(&["show", "three", "--queue", &queue])
        .await
        .expect(1);
    assert_eq!(none.err, "error: no message matches\n");
    rig.settles_at(&queue, 2).await;
}

/// Each filter takes what it says, together they take what all of them say.
#[tokio::test]
async fn filters_choose() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.queue("q").await;
    for (id, reason, status, age) in [
        ("a", "exhausted", 503, 10),
        ("bb", "rejected", 404, 7_000),
        ("c", "rejected", 422, 90_000),
        ("dd", "exhausted", 502, 90_000),
    ] {
        let properties = parked(id, "work", reason, status, age);
        rig.amqp().send(&queue, properties, b"x").await;
    }
    rig.amqp()
        .send(&queue, with_id("e"), b"tells nothing")
        .await;
    for (words, expected) in [
        (&[][..], "a bb c dd e"),
        (&["--id", "c", "--id", "a"], "a c"),
        (&["--reason", "rejected"], "bb c"),
        (&["--status", "5xx"], "a dd"),
        (&["--status", "404"], "bb"),
        (&["--older-than", "1h"], "bb c dd"),
        (&["--newer-than", "1h"], "a"),
        (&["--newer-than", "1day", "--older-than", "1h"], "bb"),
        (&["--header", "x-tenant=t-0"], "bb dd"),
        (&["--header", "X-Tenant=t-0", "--status", "5xx"], "dd"),
        (&["--header", "x-tenant=none"], ""),
        (&["--limit", "2"], "a bb"),
        (&["--limit", "1", "--status", "4xx"], "bb"),
    ] {
        let words = [&["--queue", &queue], words].concat();
        assert_eq!(tool.ids(&words).await.join(" "), expected, "{words:?}");
    }
}

/// What cannot be looked at is said in one line, and nothing is made by asking.
#[tokio::test]
async fn what_cannot_be_looked_at_is_named() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let absent = rig.name("absent");
    let ran = tool.run(&["list", "--queue", &absent]).await.expect(1);
    assert_eq!(ran.err, format!("error: queue `{absent}` does not exist\n"));
    assert_eq!(rig.amqp().counts(&absent).await, None);
    let stream = rig.name("stream");
    rig.amqp()
        .queue(&stream, &[("x-queue-type", text("stream"))])
        .await;
    let ran = tool.run(&["list", "--queue", &stream]).await.expect(1);
    assert!(
        ran.err
            .starts_with(&format!("error: queue `{stream}` is a stream")),
        "{}",
        ran.err
    );
    let own = rig.name("own");
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let channel = rig.amqp().channel().await;
    let declaring = channel.queue_declare(own.as_str().into(), exclusive, FieldTable::default());
    declaring.await.unwrap();
    let ran = tool.run(&["list", "--queue", &own]).await.expect(1);
    let expected = format!("error: queue `{own}` is exclusive to another connection\n");
    assert_eq!(ran.err, expected);
    let never = rig.name("never");
    rig.amqp().queue(&never, &quorum(Some(0))).await;
    let ran = tool.run(&["list", "--queue", &never]).await.expect(1);
    assert!(ran.err.contains("has a delivery limit of 0"), "{}", ran.err);
}

/// The delivery limit is found among other arguments, whatever they are.
#[tokio::test]
async fn a_low_delivery_limit_is_found_among_other_arguments() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.name("q");
    let number = |value| AMQPValue::LongLongInt(value);
    let mut arguments = quorum(Some(2));
    arguments.extend([
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("it's nowhere")),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", number(1000)),
        ("x-message-ttl", number(3_600_000)),
        ("x-expires", number(3_600_000)),
    ]);
    rig.amqp().queue(&queue, &arguments).await;
    let ids = fill(&rig, &queue, 5).await;
    for _ in 0..8 {
        assert_eq!(tool.ids(&["--queue", &queue]).await, ids);
    }
}

/// By default the queues of the configuration are looked into; one that is not there yet is noted.
#[tokio::test]
async fn the_queues_are_those_of_the_configuration() {
    let rig = Rig::new().await;
    let yaml = "routes:\n  \
                PFX-one: { from: { amqp: PFX-w1 }, to: { http: \"http://127.0.0.1:9/\" } }\n  \
                PFX-two: { from: { amqp: PFX-w2 }, to: { http: \"http://127.0.0.1:9/\" }, park: PFX-own }\n  \
                PFX-in: { from: { http: \"POST /x\" }, to: { amqp: PFX-w1 } }\n";
    let tool = Tool::new(&rig, yaml);
    let own = rig.queue("own").await;
    rig.amqp().send(&own, with_id("a"), b"x").await;
    let listed = tool.run(&["list"]).await.expect(0);
    assert!(listed.out.contains(&own), "{}", listed.out);
    let one = names::parked_queue(&rig.name("one"));
    assert_eq!(listed.err, format!("note: queue `{one}` does not exist\n"));
    assert_eq!(tool.ids(&["--route", &rig.name("two")]).await, ["a"]);
    let none = tool
        .run(&["list", "--route", &rig.name("one")])
        .await
        .expect(1);
    assert_eq!(none.err, format!("error: queue `{one}` does not exist\n"));
    let inbound = tool
        .run(&["list", "--route", &rig.name("in")])
        .await
        .expect(64);
    assert!(inbound.err.contains("delivers messages"), "{}", inbound.err);
}

/// Ten thousand messages of 8 KiB, of which three match: they are found, and the process never
/// holds more than a few of them.
#[tokio::test]
async fn a_long_queue_costs_no_memory() {
    const MESSAGES: usize = 10_000;
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    let queue = rig.queue("q").await;
    let body = vec![b'x'; 8 * 1024];
    let messages = (0..MESSAGES).map(|n| {
        let reason = if n % 4_000 == 1_000 { "rare" } else { "usual" };
        (
            parked(&format!("m{n}"), "work", reason, 500, 5),
            body.clone(),
        )
    });
    rig.amqp().publish_all("", &queue, messages).await;
    let mut child = tool.start(&["list", "--queue", &queue, "--reason", "rare", "--json"]);
    let status = format!("/proc/{}/status", child.id().expect("it runs"));
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak_kib = kib.unwrap_or(0).max(peak_kib);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ran = Ran::from(child.wait_with_output().await.unwrap()).expect(0);
    let listed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(listed["tally"]["scanned"], MESSAGES);
    let found = listed["messages"].as_array().unwrap().iter();
    let found: Vec<_> = found
        .map(|message| message["id"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["m1000", "m5000", "m9000"]);
    assert!(peak_kib > 1_000, "never measured");
    assert!(
        peak_kib < 64 * 1024,
        "{peak_kib} KiB for 80 MiB of messages"
    );
    rig.settles_at(&queue, u32::try_from(MESSAGES).unwrap())
        .await;
}
