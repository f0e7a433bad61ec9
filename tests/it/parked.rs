//! Parked messages are seen, replayed and discarded from the command line: nothing is lost, and
//! looking harms nothing.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::SystemTime,
};

use futures_util::StreamExt;
use lapin::{BasicProperties, options::BasicRejectOptions, types::AMQPValue};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{
    Rig,
    amqp::{table, text, with_id},
    lifeline,
};

/// `hareway parked …` with a configuration of its own.
struct Tool {
    files: [PathBuf; 2],
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Tool {
    fn new(rig: &Rig, yaml: &str) -> Self {
        let files = ["tool-base.yaml", "tool.yaml"].map(|name| rig.dir().join(name));
        let instance = rig.name("tool");
        let base = format!("amqp: {{ url: \"{}\", instance: {instance} }}\n", rig.url());
        std::fs::write(&files[0], base).unwrap();
        std::fs::write(&files[1], rig.fill(yaml)).unwrap();
        Self { files }
    }

    /// With a configuration that has nothing to do with the queues looked into.
    fn stranger(rig: &Rig) -> Self {
        let yaml = "queues: { PFX-x: { external: true } }\n\
                    routes: { PFX-r: { from: { http: \"POST /x\" }, to: { amqp: PFX-x } } }";
        Self::new(rig, yaml)
    }

    fn command(&self, words: &[&str]) -> Command {
        lifeline::guard_children();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hareway"));
        command.arg("parked").arg(words[0]);
        for file in &self.files {
            command.arg("-c").arg(file);
        }
        command
            .args(&words[1..])
            .env(lifeline::MARK, &*lifeline::RUN)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, words: &[&str]) -> Ran {
        let output = self.command(words).output().await;
        Ran::from(output.expect("the program starts"))
    }

    /// The document that a `--json` call prints, which must succeed.
    async fn json(&self, words: &[&str]) -> Value {
        let ran = self.run(&[words, &["--json"]].concat()).await;
        assert_eq!(ran.code, 0, "{words:?}: {}{}", ran.out, ran.err);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
    }

    /// The ids that `list` shows, in its order.
    async fn ids(&self, words: &[&str]) -> Vec<String> {
        let listed = self.json(&[&["list"], words].concat()).await;
        let messages = listed["messages"].as_array().unwrap();
        let id = |message: &Value| message["id"].as_str().unwrap().to_owned();
        messages.iter().map(id).collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }
}

fn quorum(limit: Option<i64>) -> Vec<(&'static str, AMQPValue)> {
    let mut arguments = vec![("x-queue-type", text("quorum"))];
    arguments.extend(limit.map(|limit| ("x-delivery-limit", AMQPValue::LongLongInt(limit))));
    arguments
}

fn ago(seconds: u64) -> AMQPValue {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    AMQPValue::Timestamp(now.unwrap().as_secs() - seconds)
}

/// As the bridge parks them.
fn parked(id: &str, work: &str, reason: &str, status: i32, seconds_ago: u64) -> BasicProperties {
    with_id(id).with_headers(table(&[
        ("hareway-queue", text(work)),
        ("hareway-exchange", text("orders")),
        ("hareway-routing-key", text("order.placed")),
        ("hareway-route", text("fulfil")),
        ("hareway-attempt", AMQPValue::LongLongInt(3)),
        ("hareway-first-failed-at", ago(seconds_ago + 60)),
        ("hareway-last-error", text("status 503")),
        ("hareway-reason", text(reason)),
        ("hareway-status", AMQPValue::LongInt(status)),
        ("hareway-parked-at", ago(seconds_ago)),
        ("x-tenant", text(&format!("t-{}", id.len() % 2))),
    ]))
}

async fn fill(rig: &Rig, queue: &str, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|n| format!("m{n:05}")).collect();
    let work = rig.name("work");
    let messages = ids.iter().map(|id| {
        let properties = parked(id, &work, "exhausted", 503, 10);
        (properties, id.clone().into_bytes())
    });
    rig.amqp().publish_all("", queue, messages).await;
    ids
}

/// Thirty looks at a queue from which the broker drops what it has delivered 20, 3 or 1 times more
/// than it should: all is still there, and in its order.
#[tokio::test]
async fn looking_never_drops_a_message() {
    let rig = Rig::new().await;
    let tool = Tool::stranger(&rig);
    for (name, arguments) in [
        ("q20", quorum(Some(20))),
        ("q3", quorum(Some(3))),
        ("q1", quorum(Some(1))),
        ("qd", quorum(None)),
        ("c", Vec::new()),
    ] {
        let queue = rig.name(name);
        rig.amqp().queue(&queue, &arguments).await;
        let ids = fill(&rig, &queue, 20).await;
        for round in 0..30 {
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

/// Publishes messages to `work` and rejects them, so that the broker dead-letters them to `dead`.
async fn dead_letter<'a>(
    rig: &Rig,
    work: &str,
    dead: &str,
    ids: impl IntoIterator<Item = &'a str>,
) {
    let to_dead = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(dead)),
    ];
    rig.amqp().queue(work, &to_dead).await;
    let before = rig
        .amqp()
        .counts(dead)
        .await
        .map_or(0, |counts| counts.messages);
    let mut sent = 0;
    for id in ids {
        let properties = with_id(id)
            .with_content_type("text/plain".into())
            .with_headers(table(&[("x-tenant", text("acme"))]));
        let body = format!("body of {id}");
        rig.amqp().send(work, properties, body.as_bytes()).await;
        sent += 1;
    }
    let (channel, mut consumer) = rig.amqp().consume(work, 10).await;
    for _ in 0..sent {
        let delivery = consumer.next().await.unwrap().unwrap();
        let options = BasicRejectOptions { requeue: false };
        channel
            .basic_reject(delivery.delivery_tag, options)
            .await
            .unwrap();
    }
    rig.settles_at(dead, before + sent).await;
    channel.close(200, "done".into()).await.unwrap();
}
