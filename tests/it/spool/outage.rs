//! The broker goes and comes back.

use std::{collections::BTreeSet, time::Duration};

use super::{DRAINED, YAML, behind_proxy, connected, drained, first_copies, ids, take, take_away};
use crate::support::{Broker, Rig, SOON, eventually, must};

/// The broker is stopped and started while a client calls, one call after the other: each call is
/// a 202, and the queue has the messages in the order of the 202s.
#[tokio::test]
async fn the_queue_has_the_order_of_the_202s_across_an_outage() {
    let broker = Broker::private().await;
    let mut rig = Rig::on(&broker).await;
    let bridge = rig.bridge(YAML).await;
    connected(&bridge).await;
    let client = bridge.client();
    let (mut sent, mut spooled) = (Vec::new(), 0);
    let mut call = async |sent: &mut Vec<String>| {
        let id = format!("m-{}", sent.len());
        let status = take(&client, &id).await.expect("a 202");
        spooled += usize::from(status == "spooled");
        sent.push(id);
        status
    };
    while sent.len() < 200 {
        assert_eq!(call(&mut sent).await, "accepted");
    }
    let away = broker.restart();
    tokio::pin!(away);
    let mut back = false;
    // Until the route publishes directly again, or the test would show nothing.
    loop {
        tokio::select! {
            biased;
            () = &mut away, if !back => back = true,
            () = std::future::ready(()) => {}
        }
        let status = call(&mut sent).await;
        if back && status == "accepted" {
            break;
        }
        assert!(sent.len() < 1_000_000, "it never publishes directly again");
    }
    assert!(spooled > 0, "the broker was never missed");
    drained(&bridge).await;
    rig.reconnect().await;
    eprintln!("{} accepted, {spooled} of them spooled", sent.len());
    // A copy may follow the first of its id: the confirm was lost with the connection.
    let found = first_copies(&rig).await;
    assert_eq!(found.len(), sent.len());
    assert_eq!(found, sent);
}

/// It starts, is ready and accepts without a broker; what it took then is published later.
#[tokio::test]
async fn it_starts_and_accepts_without_a_broker() {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    take_away(&proxy);
    let bridge = rig.bridge_with(YAML, options).await;
    let ready = bridge.admin_get("/readyz").await.expect(200).json();
    assert_eq!(ready["reasons"], serde_json::json!([]), "{ready}");
    let warning = ready["warnings"].to_string();
    assert!(warning.contains("broker"), "{ready}");
    let client = bridge.client();
    for number in 0..20 {
        let id = format!("m-{number}");
        assert_eq!(take(&client, &id).await.as_deref(), Ok("spooled"));
    }
    let routes = bridge.admin_get("/routes").await.expect(200).text();
    assert!(
        routes.contains("spooling: 20 messages, oldest "),
        "{routes}"
    );
    let route = rig.name("take");
    let here = [("route", route.as_str())];
    bridge
        .metric_is("hareway_spool_messages", &here, 20.0)
        .await;
    assert!(bridge.metric("hareway_spool_bytes", &here).await > 20.0);
    let spooled = [("route", route.as_str()), ("outcome", "spooled")];
    bridge
        .metric_is("hareway_published_total", &spooled, 20.0)
        .await;
    proxy.resume();
    connected(&bridge).await;
    drained(&bridge).await;
    let routed = [("route", route.as_str()), ("outcome", "routed")];
    bridge
        .metric_is("hareway_published_total", &routed, 20.0)
        .await;
    bridge
        .metric_is("hareway_spool_oldest_seconds", &here, 0.0)
        .await;
    assert_eq!(take(&client, "direct").await.as_deref(), Ok("accepted"));
    let mut sent: Vec<String> = (0..20).map(|number| format!("m-{number}")).collect();
    sent.push("direct".to_owned());
    assert_eq!(ids(&rig).await, sent);
}

/// Where one inbound route has no spool, calls are better sent elsewhere while the broker is away.
#[tokio::test]
async fn one_route_without_a_spool_makes_the_broker_a_condition() {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    let yaml = format!(
        "{YAML}  PFX-plain:\n    from: {{ http: \"POST /plain\" }}\n    to: {{ amqp: PFX-in }}\n"
    );
    let bridge = rig.bridge_with(&yaml, options).await;
    take_away(&proxy);
    let found = bridge.not_ready(SOON).await.json();
    assert!(found["reasons"].to_string().contains("broker"), "{found}");
    let plain = bridge.client().post("/plain").send().await;
    plain.expect_problem(503, "broker-unavailable");
    assert_eq!(
        take(&bridge.client(), "m-1").await.as_deref(),
        Ok("spooled")
    );
    proxy.resume();
    bridge.ready(Duration::from_secs(30)).await;
    rig.settles_at(&rig.name("in"), 1).await;
}

/// What a full queue refuses waits, and follows as there is room, in order.
#[tokio::test]
async fn a_full_queue_fills_the_spool() {
    let rig = Rig::new().await;
    let yaml = YAML.replace(
        "PFX-in: { type: classic }",
        "PFX-in: { type: classic, arguments: { x-max-length: 2, x-overflow: reject-publish } }",
    );
    let bridge = rig.bridge(&yaml).await;
    connected(&bridge).await;
    let client = bridge.client();
    let mut statuses = Vec::new();
    for number in 0..10 {
        statuses.push(take(&client, &format!("m-{number}")).await.expect("a 202"));
    }
    assert_eq!(statuses.first().map(String::as_str), Some("accepted"));
    assert_eq!(statuses.last().map(String::as_str), Some("spooled"));
    let mut found = Vec::new();
    eventually(DRAINED, "all ten", async || {
        while let Some(got) = rig.amqp().get(&rig.name("in")).await {
            found.push(got.message_id().to_owned());
        }
        must(found.len() >= 10, || format!("{found:?}"))
    })
    .await;
    drained(&bridge).await;
    // Copies follow where the queue had room behind a message that it refused.
    for number in 0..10 {
        assert!(found.contains(&format!("m-{number}")), "{found:?}");
    }
    let route = rig.name("take");
    let nacked = [("route", route.as_str()), ("outcome", "nacked")];
    assert!(bridge.metric("hareway_published_total", &nacked).await > 0.0);
}

/// A publish whose confirm does not come is spooled under the same id: it may be there twice, and
/// is there once at least.
#[tokio::test]
async fn what_is_not_confirmed_goes_to_the_spool_under_the_same_id() {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    let bridge = rig.bridge_with(YAML, options).await;
    connected(&bridge).await;
    let client = bridge.client();
    assert_eq!(take(&client, "before").await.as_deref(), Ok("accepted"));
    // The broker has the message; its confirm does not come through.
    proxy.set(|weather| weather.stall_down = true);
    assert_eq!(take(&client, "doubt").await.as_deref(), Ok("spooled"));
    assert_eq!(take(&client, "behind").await.as_deref(), Ok("spooled"));
    let route = rig.name("take");
    let unknown = [("route", route.as_str()), ("outcome", "unknown")];
    assert!(bridge.metric("hareway_published_total", &unknown).await >= 1.0);
    proxy.cut();
    proxy.resume();
    drained(&bridge).await;
    let all = ids(&rig).await;
    let doubts = all.iter().filter(|id| *id == "doubt").count();
    assert!(
        doubts >= 2,
        "the first is there, and the spooled one: {all:?}"
    );
    let mut seen = BTreeSet::new();
    let first: Vec<&String> = all.iter().filter(|id| seen.insert(*id)).collect();
    assert_eq!(first, ["before", "doubt", "behind"]);
}

/// Also while many call without a pause, a route goes back to publishing directly.
#[tokio::test]
async fn the_spool_gives_way_under_load() {
    let rig = Rig::new().await;
    let (proxy, options) = behind_proxy(&rig).await;
    take_away(&proxy);
    let bridge = std::sync::Arc::new(rig.bridge_with(YAML, options).await);
    let mut clients = tokio::task::JoinSet::new();
    for name in 0..8 {
        let bridge = bridge.clone();
        clients.spawn(async move {
            let client = bridge.client();
            let (mut sent, mut spooled, mut direct) = (0, 0, 0);
            while direct < 50 {
                let id = format!("{name}-{sent}");
                match take(&client, &id).await.expect("a 202").as_str() {
                    "accepted" => direct += 1,
                    _ => (spooled, direct) = (spooled + 1, 0),
                }
                sent += 1;
                assert!(sent < 100_000, "it never publishes directly again");
            }
            (sent, spooled)
        });
    }
    let route = rig.name("take");
    let spooled = [("route", route.as_str())];
    eventually(SOON, "something waits", async || {
        let found = bridge.metric("hareway_spool_messages", &spooled).await;
        must(found > 500.0, || found.to_string())
    })
    .await;
    proxy.resume();
    let (mut sent, mut kept) = (0, 0);
    for (all, spooled) in clients.join_all().await {
        sent += all;
        kept += spooled;
    }
    eprintln!("{sent} accepted, {kept} of them spooled");
    let found: BTreeSet<String> = ids(&rig).await.into_iter().collect();
    assert_eq!(found.len(), sent);
}
