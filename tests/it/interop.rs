//! Clients that nobody here wrote: Python's pika on the AMQP side, wrk on the HTTP side.

use std::{path::Path, process::Stdio, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::process::{Child, Command};

use crate::support::{Backend, Rig, SOON, lifeline};

/// Longest run of a script.
const SCRIPT_LIMIT: Duration = Duration::from_secs(60);

/// Python on a script of `tests/it/pika`, by an interpreter that has pika.
fn python(script: &str, arguments: &[&str]) -> Command {
    lifeline::guard_children();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = std::env::var_os("HAREWAY_PYTHON_SCRIPT")
        .map_or_else(|| root.join("scripts/python"), Into::into);
    let mut command = Command::new(interpreter);
    command
        .arg(root.join("tests/it/pika").join(script))
        .args(arguments)
        .env(lifeline::MARK, &*lifeline::RUN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn output(mut command: Command) -> String {
    let output = tokio::time::timeout(SCRIPT_LIMIT, command.output()).await;
    let output = output.expect("in time").expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What Hareway publishes, pika reads with every property right.
#[tokio::test]
async fn pika_reads_what_was_accepted() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
exchanges:
  PFX-topics: { type: topic }
queues:
  PFX-in: { bind: { PFX-topics: "made.*" } }
routes:
  PFX-take:
    from: { http: "POST /take/{kind}" }
    to:
      amqp:
        exchange: PFX-topics
        routing_key: "made.{path.kind}"
        type: test.taken
        priority: 6
        expiration: 10m
"#,
        )
        .await;
    let body: Vec<u8> = (0..=255).collect();
    let client = bridge.client();
    let call = client
        .post("/take/here?q=1")
        .header("content-type", "application/x-bytes")
        .header("content-encoding", "identity")
        .header("message-id", "m-1")
        .header("correlation-id", "c-1")
        .header("x-colour", "Blue")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .body(body.clone());
    call.send().await.expect(202);
    client.post("/take/here").send().await.expect(202);

    let said = output(python("read.py", &[rig.url(), &rig.name("in"), "2"])).await;
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let got = &lines[0];
    for (name, value) in [
        ("content_type", "application/x-bytes"),
        ("content_encoding", "identity"),
        ("message_id", "m-1"),
        ("correlation_id", "c-1"),
        ("type", "test.taken"),
        ("app_id", "hareway"),
        ("expiration", "600000"),
        ("exchange", &rig.name("topics")),
        ("routing_key", "made.here"),
        ("body", &STANDARD.encode(&body)),
    ] {
        assert_eq!(got[name], value, "{name} in {got}");
    }
    assert_eq!(
        (&got["delivery_mode"], &got["priority"]),
        (&2.into(), &6.into())
    );
    assert!(got["timestamp"].as_u64().unwrap() > 1_700_000_000);
    for (name, value) in [
        ("x-colour", "Blue"),
        ("http-method", "POST"),
        ("http-path", "/take/here"),
        ("http-query", "q=1"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ] {
        assert_eq!(got["headers"][name], value, "{name} in {got}");
    }
    assert_eq!(lines[1]["body"], "");
}

struct PikaWorker(Child);

impl Drop for PikaWorker {
    fn drop(&mut self) {
        drop(self.0.start_kill());
    }
}

/// A worker on pika answers held calls.
#[tokio::test]
async fn a_pika_worker_answers() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
queues:
  PFX-ask: {}
routes:
  PFX-call:
    from: { http: "POST /call" }
    to: { amqp: PFX-ask }
    reply: { timeout: 20s }
"#,
        )
        .await;
    let ask = rig.name("ask");
    let _worker = PikaWorker(
        python("worker.py", &[rig.url(), &ask])
            .spawn()
            .expect("it starts"),
    );
    rig.consumed_by(&ask, 1).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 100..150 {
        let client = bridge.client();
        calls.spawn(async move {
            let answer = client
                .post("/call")
                .body(number.to_string())
                .send()
                .await
                .expect(201);
            let reversed: String = number.to_string().chars().rev().collect();
            assert_eq!(answer.text(), reversed);
            assert_eq!(answer.header("content-type"), "text/x-reversed");
            let left: u64 = answer
                .header("x-seen-expiration")
                .parse()
                .expect("milliseconds");
            assert!(left <= 20_000, "{left}");
        });
    }
    calls.join_all().await;
    bridge.metric_is("hareway_waiting_replies", &[], 0.0).await;
}

/// What pika publishes is forwarded, every type of header value with it.
#[tokio::test]
async fn messages_of_pika_are_forwarded() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    let yaml = format!(
        "routes:\n  PFX-fwd:\n    from: {{ amqp: PFX-work }}\n    to: {{ http: \"{}\" }}\n",
        backend.url("/")
    );
    let _bridge = rig.bridge(&yaml).await;
    output(python("publish.py", &[rig.url(), &rig.name("work"), "30"])).await;
    let seen = backend.wait_for(30, SOON).await;
    rig.settles_at(&rig.name("work"), 0).await;
    assert_eq!(seen.len(), 30);
    for request in &seen {
        let id = request.header("message-id");
        let number = id.strip_prefix("pika-").expect("its id");
        assert_eq!(request.body, format!("{{\"number\": {number}}}"));
        assert_eq!(request.header("correlation-id"), format!("c-{number}"));
        for (name, value) in [
            ("idempotency-key", id),
            ("content-type", "application/json"),
            ("content-encoding", "identity"),
            ("amqp-type", "test.made"),
            ("amqp-app-id", "pika"),
            ("amqp-priority", "4"),
            ("amqp-timestamp", "1700000000"),
        ] {
            assert_eq!(request.header(name), value, "{name}");
        }
        let text = request.headers.get("x-text").expect("x-text");
        assert_eq!(text.as_bytes(), "Grüße".as_bytes());
        for name in [
            "x-int",
            "x-big",
            "x-negative",
            "x-true",
            "x-none",
            "x-decimal",
            "x-bytes",
            "x-when",
            "x-list",
            "x-table",
        ] {
            assert!(request.headers.contains_key(name), "{name} is missing");
        }
        assert!(request.header("x-int").contains('7'));
        assert!(request.header("x-big").contains(&(1_u64 << 40).to_string()));
        assert!(request.header("x-table").contains('v'));
    }
}

/// Load from wrk: not one answer outside 2xx, and as many messages as answers.
#[tokio::test]
async fn wrk_gets_nothing_but_2xx() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(
            r#"
queues:
  PFX-in: { type: classic }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: { queue: PFX-in, confirm_timeout: 30s } }
"#,
        )
        .await;
    let script = rig.dir().join("post.lua");
    std::fs::write(
        &script,
        "wrk.method = 'POST'\nwrk.body = string.rep('x', 1024)\n",
    )
    .unwrap();
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", "-d4s", "--timeout", "30s", "-s"])
        .arg(&script)
        .arg(format!("http://{}/take", bridge.http()))
        .kill_on_drop(true);
    let said = output(wrk).await;
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    let (count, _) = said
        .trim_start()
        .split_once(" requests in")
        .map(|(head, rest)| (head.rsplit(char::is_whitespace).next().unwrap(), rest))
        .expect("a count");
    let count: u32 = count.parse().expect("a number");
    assert!(count > 100, "{said}");
    let queue = rig.name("in");
    let messages = rig.amqp().counts(&queue).await.expect("the queue").messages;
    // Those whose answer wrk did not wait for are in the queue all the same.
    assert!(
        messages >= count && messages <= count + 32,
        "{messages} messages, {count} answers"
    );
    rig.amqp().purge(&queue).await;
}
