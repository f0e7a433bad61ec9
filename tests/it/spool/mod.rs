//! 202 while the broker is away: what was accepted is on disk, and follows in order.

mod crash;
mod outage;
mod store;

use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    Bridge, Client, Proxy, Rig, bridge::Options, broker::address_of, broker::with_address,
    client::Reply, eventually, must,
};

/// From the broker's return until everything that waited is in its queue.
const DRAINED: Duration = Duration::from_secs(60);

/// One spooled route, to a queue that takes everything.
const YAML: &str = r#"
amqp: { reconnect_max: 500ms }
store: { path: ./store }
queues:
  PFX-in: { type: classic }
routes:
  PFX-take:
    from: { http: "POST /take" }
    to: { amqp: { queue: PFX-in, confirm_timeout: 3s } }
    spool: true
"#;

/// Calls with this id, and gives the status of the message that the answer speaks of.
async fn take(client: &Client, id: &str) -> Result<String, String> {
    let call = client.post("/take").header("message-id", id).body("x");
    let reply = call.attempt().await?;
    status(&reply, id)
}

fn status(reply: &Reply, id: &str) -> Result<String, String> {
    if reply.status != 202 {
        return Err(format!("{} {}", reply.status, reply.text()));
    }
    let json = reply.json();
    assert_eq!(json["id"], id);
    Ok(json["status"].as_str().unwrap_or_default().to_owned())
}

/// Waits until nothing is in line any more.
async fn drained(bridge: &Bridge) {
    eventually(DRAINED, "the spool is empty", async || {
        let left = bridge.metric("hareway_spool_messages", &[]).await;
        must(left == 0.0, || format!("{left} messages"))
    })
    .await;
}

/// The ids in the queue, in its order.
async fn ids(rig: &Rig) -> Vec<String> {
    let got = rig.amqp().drain_many(&rig.name("in")).await;
    got.iter().map(|got| got.message_id().to_owned()).collect()
}

/// The first copy of each id in the queue, in its order.
async fn first_copies(rig: &Rig) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut all = ids(rig).await;
    all.retain(|id| seen.insert(id.clone()));
    all
}

/// A broker that can be taken away: the shared one behind a proxy.
async fn behind_proxy(rig: &Rig) -> (Proxy, Options) {
    let proxy = Proxy::start(&address_of(rig.url())).await;
    let options = Options {
        amqp_url: Some(with_address(rig.url(), &proxy.address())),
        ..Options::default()
    };
    (proxy, options)
}

/// No connection is left, and no new one is let through.
fn take_away(proxy: &Proxy) {
    proxy.set(|weather| weather.refuse = true);
    proxy.cut();
}

/// Ready it is without a broker too; this waits until it has one.
async fn connected(bridge: &Bridge) {
    bridge.metric_is("hareway_broker_up", &[], 1.0).await;
}

async fn disconnected(bridge: &Bridge) {
    bridge.metric_is("hareway_broker_up", &[], 0.0).await;
}
