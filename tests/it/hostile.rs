//! Whatever comes over the wire, the bridge answers or closes, stays up, and keeps its secrets.

use std::time::Duration;

use crate::support::{
    Answer, Backend, Bridge, Rig, SOON, amqp::with_id, bridge::Options, client::Raw, eventually,
    must,
};

/// Nothing that is refused may be held longer, apart from what is slow by itself.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

const YAML: &str = r#"
http: { header_timeout: 1s, body_timeout: 1s }
queues:
  PFX-in: {}
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: PFX-in }
"#;

async fn still_serves(bridge: &Bridge) {
    bridge.client().post("/take").send().await.expect(202);
}

/// Malformed requests are refused with a 4xx or a closed connection, none becomes a message, and
/// the server goes on.
#[tokio::test]
async fn malformed_requests_are_refused() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(YAML).await;
    let large = format!(
        "POST /take HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    let many = format!(
        "POST /take HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "x-y: z\r\n".repeat(5_000)
    );
    let target = format!(
        "POST /take?{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "q".repeat(200_000)
    );
    let cases: Vec<(&str, &[u8])> = vec![
        ("a value with NUL", b"POST /take HTTP/1.1\r\nhost: x\r\nx-a: b\0c\r\ncontent-length: 0\r\n\r\n"),
        ("a value with a bare CR", b"POST /take HTTP/1.1\r\nhost: x\r\nx-a: b\rx-evil: 1\r\ncontent-length: 0\r\n\r\n"),
        ("a name with a space", b"POST /take HTTP/1.1\r\nhost: x\r\nx a: b\r\ncontent-length: 0\r\n\r\n"),
        ("a space before the colon", b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length : 0\r\n\r\n"),
        ("a folded line", b"POST /take HTTP/1.1\r\nhost: x\r\nx-a: b\r\n c\r\ncontent-length: 0\r\n\r\n"),
        ("a length that is no number", b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: five\r\n\r\nhello"),
        ("a negative length", b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\nhello"),
        ("two lengths", b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        ("an endless length", b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n"),
        ("a chunk size that is none", b"POST /take HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n"),
        ("an unknown coding", b"POST /take HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ("a method that is none", b"P@ST\"/ /take HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("a version that is none", b"POST /take HTTP/9.9\r\nhost: x\r\n\r\n"),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        ("a broken h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("a body that ends early", b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nhello"),
        ("a head that is too large", large.as_bytes()),
        ("too many headers", many.as_bytes()),
        ("a target that is too long", target.as_bytes()),
    ];
    for (what, bytes) in cases {
        let mut raw = Raw::connect(bridge.http()).await;
        raw.write(bytes).await;
        let (said, ended) = raw.read_to_end(REFUSED_WITHIN).await;
        let said = String::from_utf8_lossy(&said);
        assert!(
            !said.starts_with("HTTP/1.1 2") && !said.starts_with("HTTP/1.1 5"),
            "{what}: {said}"
        );
        let refused = said.starts_with("HTTP/1.1 4");
        assert!(
            refused || ended,
            "{what}: neither refused nor closed: {said}"
        );
    }
    rig.settles_at(&rig.name("in"), 0).await;
    still_serves(&bridge).await;
    rig.settles_at(&rig.name("in"), 1).await;
}

/// Two framings at once are a smuggler's request: at most one message, never one from the body.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_body() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(YAML).await;
    let hidden =
        "POST /take HTTP/1.1\r\nhost: x\r\nmessage-id: smuggled\r\ncontent-length: 0\r\n\r\n";
    let chunked = format!(
        "POST /take HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: {}\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let mut raw = Raw::connect(bridge.http()).await;
    raw.write(chunked.as_bytes()).await;
    let (said, _) = raw.read_to_end(REFUSED_WITHIN).await;
    let said = String::from_utf8_lossy(&said);
    // RFC 9112 6.1: such a request ends the connection, whatever became of it.
    assert!(said.matches("HTTP/1.1 ").count() <= 1, "{said}");
    still_serves(&bridge).await;
    for got in rig.amqp().drain(&rig.name("in")).await {
        assert_ne!(got.message_id(), "smuggled");
    }
}

/// Those who send their head, or their body, too slowly are closed in time, and hold up nobody.
#[tokio::test]
async fn the_slow_are_closed_in_time() {
    let rig = Rig::new().await;
    let bridge = rig.bridge(YAML).await;
    let mut slow = Vec::new();
    for begin in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n",
        b"POST /take HTTP/1.1\r\nhost: x\r\nx-a: ",
        b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nsome",
        b"POST /take HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
    ] {
        let mut raw = Raw::connect(bridge.http()).await;
        raw.write(begin).await;
        slow.push((begin, raw));
    }
    still_serves(&bridge).await;
    for (begin, mut raw) in slow {
        let (said, ended) = raw.read_to_end(REFUSED_WITHIN).await;
        let said = String::from_utf8_lossy(&said);
        assert!(
            ended,
            "{:?} is still open: {said}",
            String::from_utf8_lossy(begin)
        );
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    rig.settles_at(&rig.name("in"), 1).await;
}

/// A hundred connections that say nothing leave room for one that does.
#[tokio::test]
async fn idle_connections_do_not_stop_others() {
    let rig = Rig::new().await;
    let yaml = YAML.replace("http: {", "http: { connections: 20,");
    let bridge = rig.bridge(&yaml).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Raw::connect(bridge.http()).await);
    }
    still_serves(&bridge).await;
}

/// Passwords and tokens of the configuration are in no log, no error and no answer.
#[tokio::test]
async fn secrets_stay_secret() {
    let rig = Rig::new().await;
    let backend = Backend::start().await;
    backend.otherwise(Answer::status(500));
    let file = rig.dir().join("token");
    std::fs::write(&file, "s3cret-from-file\n").unwrap();
    let yaml = format!(
        r#"
queues:
  PFX-in: {{}}
routes:
  PFX-take:
    from: {{ http: "POST /take" }}
    to: {{ amqp: PFX-in }}
  PFX-fwd:
    from: {{ amqp: PFX-work }}
    to: {{ http: "{}" }}
    headers: {{ set: {{ authorization: "Bearer ${{file:{}}}" }} }}
    retry: [100ms]
"#,
        backend.url("/"),
        file.display()
    );
    let bridge = rig.bridge(&yaml).await;
    // The caller's secret and the body are nobody's business either.
    let client = bridge.client();
    let call = client
        .post("/take")
        .header("authorization", "Bearer s3cret-of-caller");
    call.body("s3cret-body").send().await.expect(202);
    rig.amqp()
        .send(&rig.name("work"), with_id("m-1"), b"s3cret-body")
        .await;
    let seen = backend.wait_for(2, SOON).await;
    assert_eq!(seen[0].header("authorization"), "Bearer s3cret-from-file");
    let parked = hareway::config::names::parked_queue(&rig.name("fwd"));
    rig.settles_at(&parked, 1).await;
    let parked = rig.amqp().get(&parked).await.expect("parked");
    assert!(
        !format!("{:?}", parked.headers()).contains("s3cret"),
        "{parked:?}"
    );

    let wrong = rig
        .url()
        .replacen("guest:guest", "guest:s3cret-password", 1);
    assert!(
        wrong.contains("s3cret"),
        "the test broker's user is guest: {wrong}"
    );
    let options = Options {
        amqp_url: Some(wrong),
        ..Options::default()
    };
    let refused = rig.start_with(&yaml, options);
    eventually(SOON, "the refusal is logged", async || {
        let log = refused.log().to_lowercase();
        must(log.contains("refused") || log.contains("access"), || log)
    })
    .await;
    refused.not_ready(SOON).await;
    refused
        .client()
        .post("/take")
        .send()
        .await
        .expect_problem(503, "broker-unavailable");
    for bridge in [&bridge, &refused] {
        let mut said = vec![bridge.log()];
        for path in ["/routes", "/readyz", "/metrics", "/version", "/healthz"] {
            said.push(bridge.admin_get(path).await.text());
        }
        for text in said {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
