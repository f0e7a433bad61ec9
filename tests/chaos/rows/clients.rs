//! The callers are in trouble, or many.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    arena::Stage,
    body::body_of,
    ledger::{Answer, Flow},
    scene::{PATIENCE, Plan, Scene},
    support::{Client, client::Raw, must},
    tally::Tally,
    traffic::{Crowd, call},
    worker::Zeal,
};

/// How far a client gets before it goes away.
#[derive(Debug, Clone, Copy)]
enum Stops {
    Connected,
    InTheHead,
    AfterTheHead,
    InTheBody,
    /// Without waiting for the answer.
    AfterTheBody,
    /// After a part of the answer.
    InTheAnswer,
}

const STOPS: [Stops; 6] = [
    Stops::Connected,
    Stops::InTheHead,
    Stops::AfterTheHead,
    Stops::InTheBody,
    Stops::AfterTheBody,
    Stops::InTheAnswer,
];

/// Clients that go away at every stage, beside others that stay.
pub async fn leave(stage: Stage) -> Tally {
    let scene = Scene::open(&stage, Plan::default()).await;
    let mut leaving = JoinSet::new();
    for number in 0..120 {
        let stops = STOPS[number % STOPS.len()];
        let flow = if number % 2 == 0 {
            Flow::Accept
        } else {
            Flow::Call
        };
        let id = format!("{:x}-leaves-{number}", stage.seed);
        scene.ledger.sent(&id, flow);
        scene.ledger.answered(&id, Answer::Left);
        let mut chance = fastrand::Rng::with_seed(stage.seed.wrapping_add(number as u64));
        leaving.spawn(go_away(
            scene.bridge().http(),
            stops,
            flow,
            id,
            chance.usize(10..40_000),
        ));
        tokio::time::sleep(Duration::from_millis(chance.u64(..20))).await;
    }
    leaving.join_all().await;
    scene.flows("after the last has left").await;
    scene.close().await
}

async fn go_away(bridge: std::net::SocketAddr, stops: Stops, flow: Flow, id: String, size: usize) {
    let body = body_of(&id, size);
    let path = if flow == Flow::Accept {
        "/take"
    } else {
        "/call"
    };
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nmessage-id: {id}\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut client = Raw::connect(bridge).await;
    let head = head.as_bytes();
    let parts: &[&[u8]] = match stops {
        Stops::Connected => &[],
        Stops::InTheHead => &[&head[..head.len() / 2]],
        Stops::AfterTheHead => &[head],
        Stops::InTheBody => &[head, &body[..length / 2]],
        Stops::AfterTheBody | Stops::InTheAnswer => &[head, &body],
    };
    for part in parts {
        if !client.write(part).await {
            return;
        }
    }
    if matches!(stops, Stops::InTheAnswer) {
        client.read_some(10, PATIENCE).await;
    }
}

/// As many callers as a bridge takes by default.
const HELD: usize = 10_000;
/// In the ids of their calls.
const CROWD: &str = "-held-";

/// From the call to its 504.
const REPLY_TIMEOUT: Duration = Duration::from_secs(100);

/// What a reply that the broker has may take to its caller, on a machine that does much else.
const SLACK: Duration = Duration::from_secs(15);

/// All of them wait for a reply while the broker restarts; half of them get one.
pub async fn held(stage: Stage) -> Tally {
    let plan = Plan {
        top: "http: { connections: 11000 }\ndrain_timeout: 110s",
        reply_timeout: "100s, waiting: 11000",
        crowd: Crowd {
            accept: 2,
            call: 1,
            patience: REPLY_TIMEOUT.saturating_add(PATIENCE),
            ..Crowd::default()
        },
        ..Plan::default()
    };
    let scene = Scene::open(&stage, plan).await;
    scene.worker.be(Zeal::None);
    let address = scene.bridge().http();
    let mut calls = JoinSet::new();
    for number in 0..HELD {
        let id = format!("{:x}{CROWD}{number}", stage.seed);
        let ledger = scene.ledger.clone();
        calls.spawn(async move {
            // A client each, so a connection each.
            let client = Client::new(address);
            ledger.sent(&id, Flow::Call);
            let limit = REPLY_TIMEOUT + PATIENCE;
            call(limit, &client, &ledger, Flow::Call, &id, 100).await
        });
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let bridge = scene.bridge();
    scene
        .until("all are held", async || {
            let held = bridge.metric("hareway_waiting_replies", &[]).await;
            let over = scene
                .ledger
                .count(Flow::Call, |answer| matches!(answer, Answer::Refused(_)));
            must(held + over as f64 >= HELD as f64, || {
                format!("{held} held, {over} refused")
            })
        })
        .await;
    stage.broker.restart().await;
    bridge.ready(PATIENCE).await;
    // Half of these only: the other traffic has to find its way back by itself.
    scene.worker.be(Zeal::EvenOf(CROWD));
    let answers = calls.join_all().await;
    check_answers(&scene, &answers);
    scene.worker.be(Zeal::All);
    scene.flows("after the crowd").await;
    scene.close().await
}

/// Each got its reply, or 504 at its deadline, or was told at once that the broker was away.
fn check_answers(scene: &Scene, answers: &[Answer]) {
    let count = |wanted: Answer| answers.iter().filter(|answer| **answer == wanted).count();
    let (replied, late) = (count(Answer::Replied), count(Answer::Refused(504)));
    if replied == 0 || late == 0 {
        let text = format!("{replied} got a reply and {late} got none, of {HELD}");
        scene.ledger.broken(text);
    }
    let missed = scene.ledger.missed(SLACK);
    if missed > 0 {
        let text = format!("{missed} got 504, {SLACK:?} or more after the broker had their reply");
        scene.ledger.broken(text);
    }
}
