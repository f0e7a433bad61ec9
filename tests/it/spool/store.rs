//! The file on disk: whose it is, and how much it takes.

use std::{fs, path::Path};

use super::{YAML, behind_proxy, connected, disconnected, drained, ids, take, take_away};
use crate::support::{Client, Rig, SOON, bridge::Options, eventually, must};

/// Starts a bridge that refuses to run, and gives the one line that it says.
async fn refusal(rig: &Rig) -> String {
    let bridge = rig.start_with(YAML, Options::default());
    let status = bridge.exit(SOON).await;
    assert_eq!(status.code(), Some(1), "{}", bridge.log());
    // Its last words may come after its end.
    eventually(SOON, "it says why", async || {
        must(bridge.log().ends_with('\n'), || bridge.log())
    })
    .await;
    let log = bridge.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    log
}

fn file(rig: &Rig) -> std::path::PathBuf {
    rig.dir().join("store/hareway.redb")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, bytes).expect("written");
}

/// Two processes on one store would both publish what is in it.
#[tokio::test]
async fn a_second_process_on_the_same_store_does_not_start() {
    let rig = Rig::new().await;
    let first = rig.bridge(YAML).await;
    let said = refusal(&rig).await;
    assert!(said.contains("in use by another process"), "{said}");
    assert!(said.contains("hareway.redb"), "{said}");
    connected(&first).await;
    assert_eq!(
        take(&first.client(), "m-1").await.as_deref(),
        Ok("accepted")
    );
}

/// What is not understood is not touched.
#[tokio::test]
async fn a_foreign_file_is_refused_and_left_as_it_is() {
    let rig = Rig::new().await;
    for bytes in [&b"somebody's notes"[..], &[0; 8192], b""] {
        write(&file(&rig), bytes);
        let said = refusal(&rig).await;
        assert!(said.contains("is not a Hareway store"), "{said}");
        assert_eq!(fs::read(file(&rig)).expect("read"), bytes);
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    take_away(&proxy);
    let bridge = rig.bridge_with(YAML, options).await;
    let client = bridge.client();
    for number in 0..50 {
        let id = format!("m-{number}");
        assert_eq!(take(&client, &id).await.as_deref(), Ok("spooled"));
    }
    bridge.signal("TERM");
    assert_eq!(bridge.exit(SOON).await.code(), Some(0));
    let whole = fs::read(file(&rig)).expect("read");
    // All but the header: whatever it leads to is not there.
    let mut damaged = whole.clone();
    damaged[4096..].fill(0xa5);
    write(&file(&rig), &damaged);
    let said = refusal(&rig).await;
    assert!(said.contains("is damaged"), "{said}");
    assert_eq!(fs::read(file(&rig)).expect("read"), damaged);
    // The copy that a person has kept is as good as before.
    write(&file(&rig), &whole);
    let bridge = rig.bridge(YAML).await;
    drained(&bridge).await;
    assert_eq!(ids(&rig).await.len(), 50);
}

/// Without a route that needs one there is no store.
#[tokio::test]
async fn a_store_is_only_made_where_a_route_needs_one() {
    let rig = Rig::new().await;
    let bridge = rig
        .bridge(&YAML.replace("spool: true", "spool: false"))
        .await;
    bridge.client().post("/take").send().await.expect(202);
    assert!(!rig.dir().join("store").exists());
    let metrics = bridge.admin_get("/metrics").await.expect(200).text();
    assert!(!metrics.contains("hareway_store_up"), "{metrics}");
}

/// A full spool says so, and its metric before it; with room again there are 202s again.
#[tokio::test]
async fn a_full_spool_is_503() {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    let yaml = YAML
        .replace("spool: true", "spool: { max_bytes: 64KiB }")
        .replace("POST /take\"", "POST /take\", body_limit: 16KiB")
        .replace("http: \"", "http: { path: \"");
    let yaml = yaml.replace(
        "{ http: { path: \"POST /take\", body_limit: 16KiB }",
        "{ http: { method: POST, path: /take, body_limit: 16KiB } }",
    );
    let bridge = rig.bridge_with(&yaml, options).await;
    connected(&bridge).await;
    take_away(&proxy);
    disconnected(&bridge).await;
    let client = bridge.client();
    let body = vec![b'x'; 8 * 1024];
    let post = async |number: usize| {
        let id = format!("m-{number}");
        let call = client.post("/take").header("message-id", &id);
        call.body(body.clone()).send().await
    };
    let mut count = 0;
    let refused = loop {
        let reply = post(count).await;
        if reply.status != 202 {
            break reply;
        }
        count += 1;
        assert!(count <= 8, "more than the limit");
    };
    assert!(count >= 6, "{count} of 8 KiB in 64 KiB");
    assert!(!refused.header("retry-after").is_empty());
    refused.expect_problem(503, "spool-full");
    let spool = [("limit", "spool")];
    let used = bridge.metric("hareway_limit_used_ratio", &spool).await;
    assert!(used > 0.8 && used <= 1.0, "{used}");
    proxy.resume();
    connected(&bridge).await;
    drained(&bridge).await;
    assert_eq!(take(&client, "again").await.as_deref(), Ok("accepted"));
    assert_eq!(ids(&rig).await.len(), count + 1);
}

/// What was too old for its route is seen and returned over the admin listener and on the command
/// line, beside the bridge and without one, and then it is published.
#[tokio::test]
async fn what_was_set_apart_is_returned_and_published() {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    let yaml = YAML.replace("spool: true", "spool: { max_age: 300ms }");
    take_away(&proxy);
    let bridge = rig.bridge_with(&yaml, options.clone()).await;
    let client = bridge.client();
    for number in 0..4 {
        let id = format!("m-{number}");
        assert_eq!(take(&client, &id).await.as_deref(), Ok("spooled"));
    }
    let route = rig.name("take");
    let apart = [("route", route.as_str())];
    bridge
        .metric_is("hareway_spool_apart_messages", &apart, 4.0)
        .await;
    bridge.signal("TERM");
    assert_eq!(bridge.exit(SOON).await.code(), Some(0));

    // Without a bridge the command takes the file.
    let listed = bridge.command(&["spool", "list"]).await;
    assert!(listed.contains("4 ("), "{listed}");
    let listed = bridge.command(&["spool", "apart", &route, "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["id"], "m-0", "{listed}");
    let key = |index: usize| listed[index]["key"].to_string();
    let words = ["spool", "return", &route, "--key", &key(0)];
    assert_eq!(bridge.command(&words).await, "returned 1\n");

    // What is returned counts as accepted now, so here is a bridge that waits for it.
    proxy.resume();
    let bridge = rig.bridge_with(YAML, options).await;
    connected(&bridge).await;
    rig.settles_at(&rig.name("in"), 1).await;
    let spools = bridge.admin_get("/spool").await.expect(200).json();
    assert_eq!(spools["routes"][0]["apart"], 3, "{spools}");
    let path = format!("/spool/{route}/apart");
    let page = bridge.admin_get(&format!("{path}?limit=2")).await;
    let page = page.expect(200).json();
    assert_eq!(page["messages"][0]["id"], "m-1", "{page}");
    assert_eq!(page["messages"][0]["reason"], "expired");
    let next = page["next"].as_u64().expect("there is a third");
    let rest = bridge.admin_get(&format!("{path}?after={next}")).await;
    assert_eq!(rest.expect(200).json()["messages"][0]["id"], "m-3");
    let admin = Client::new(bridge.admin());
    let call = admin.post(&format!("{path}/return"));
    let call = call.header("content-type", "application/json");
    let body = format!(r#"{{"keys":[{}]}}"#, key(1));
    let done = call.body(body).send().await;
    assert_eq!(done.expect(200).json()["messages"], 1);
    rig.settles_at(&rig.name("in"), 2).await;

    // Beside a bridge, which has the file to itself, the command asks it.
    let words = ["spool", "discard", &route, "--key", &key(2)];
    assert_eq!(bridge.command(&words).await, "discarded 1\n");
    let words = ["spool", "return", &route, "--all"];
    assert_eq!(bridge.command(&words).await, "returned 1\n");
    rig.settles_at(&rig.name("in"), 3).await;
    drained(&bridge).await;
    assert_eq!(ids(&rig).await, ["m-0", "m-1", "m-3"]);
}
