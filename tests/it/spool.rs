//! 202 while the broker is away: what was accepted is on disk, and follows in order.

use std::time::Duration;

use crate::support::{Bridge, Broker, Client, Rig, client::Reply, eventually, must};

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

/// The broker is stopped and started while a client calls, one call after the other: each call is
/// a 202, and the queue has the messages in the order of the 202s.
#[tokio::test]
async fn the_queue_has_the_order_of_the_202s_across_an_outage() {
    let broker = Broker::private().await;
    let mut rig = Rig::on(&broker).await;
    let bridge = rig.bridge(YAML).await;
    // Ready it is without a broker too.
    bridge.metric_is("hareway_broker_up", &[], 1.0).await;
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
    let away = async {
        broker.kill().await;
        broker.start_again().await;
    };
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
    let mut found = ids(&rig).await;
    // A copy may follow the first of its id: the confirm was lost with the connection.
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|id| seen.insert(id.clone()));
    eprintln!("{} accepted, {spooled} of them spooled", sent.len());
    assert_eq!(found.len(), sent.len());
    assert_eq!(found, sent);
}
