//! Parked messages are seen, replayed and discarded: nothing is lost, and looking harms nothing.

mod api;
mod breaker;
mod long;
mod look;
mod replay;

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::SystemTime,
};

use futures_util::StreamExt;
use lapin::{BasicProperties, options::BasicRejectOptions, types::AMQPValue};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::support::{
    Rig,
    amqp::{table, text, with_id},
    lifeline,
};

/// A configuration that has nothing to do with the queues looked into.
const STRANGE: &str = "queues: { PFX-x: { external: true } }\n\
                       routes: { PFX-r: { from: { http: \"POST /x\" }, to: { amqp: PFX-x } } }";

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
        Self::at(rig, rig.url(), yaml)
    }

    /// By another way to the broker.
    fn at(rig: &Rig, url: &str, yaml: &str) -> Self {
        let files = ["tool-base.yaml", "tool.yaml"].map(|name| rig.dir().join(name));
        let instance = rig.name("tool");
        let base = format!("amqp: {{ url: \"{url}\", instance: {instance} }}\n");
        std::fs::write(&files[0], base).unwrap();
        std::fs::write(&files[1], rig.fill(yaml)).unwrap();
        Self { files }
    }

    /// With a configuration that has nothing to do with the queues looked into.
    fn stranger(rig: &Rig) -> Self {
        Self::new(rig, STRANGE)
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

    fn start(&self, words: &[&str]) -> Child {
        self.command(words).spawn().expect("the program starts")
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

/// As ctrl-C does.
fn interrupt(child: &Child) {
    let pid = child.id().expect("it runs").to_string();
    let sent = std::process::Command::new("sh")
        .args(["-c", r#"kill -INT "$1""#, "kill", &pid])
        .status();
    assert!(sent.expect("sh starts").success(), "kill -INT {pid}");
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
