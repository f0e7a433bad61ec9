//! Clients that call one after the other, and enter how each call ended.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    body::{body_of, id_of},
    ledger::{Answer, Flow, Ledger},
    support::{Client, client::Reply},
};

/// Longer than any deadline of the bridge here, on a machine that does much else.
const HANG_LIMIT: Duration = Duration::from_secs(45);

/// Between two calls of a client, so that a round on a fast machine stays small.
const PAUSE: Duration = Duration::from_millis(15);

/// After an answer that was no success.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Call,
    /// Those that accept rest; calls with a reply go on.
    Rest,
    Stop,
}

/// How many clients a scene has of each kind.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    pub accept: usize,
    pub call: usize,
    /// Those that accept repeat a call, under its id and key, until it succeeds.
    pub insists: bool,
    /// How long they wait for an answer.
    pub patience: Duration,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            accept: 6,
            call: 3,
            insists: false,
            patience: HANG_LIMIT,
        }
    }
}

#[derive(Debug)]
pub struct Traffic {
    order: watch::Sender<Order>,
    clients: JoinSet<()>,
}

impl Traffic {
    pub fn start(bridge: SocketAddr, ledger: &Arc<Ledger>, crowd: Crowd, seed: u64) -> Self {
        let (order, told) = watch::channel(Order::Call);
        let mut clients = JoinSet::new();
        let accept = (0..crowd.accept).map(|_| Flow::Accept);
        let call = (0..crowd.call).map(|_| Flow::Call);
        for (number, flow) in accept.chain(call).enumerate() {
            let chance = fastrand::Rng::with_seed(seed.wrapping_add(number as u64));
            let one = One {
                name: format!("{seed:x}-{number}"),
                flow,
                client: Client::new(bridge),
                ledger: ledger.clone(),
                chance,
                patience: crowd.patience,
                insists: crowd.insists && flow == Flow::Accept,
            };
            clients.spawn(one.run(told.clone()));
        }
        Self { order, clients }
    }

    /// Accepts nothing more until [`Traffic::go_on`].
    pub fn rest(&self) {
        self.order.send_replace(Order::Rest);
    }

    pub fn go_on(&self) {
        self.order.send_replace(Order::Call);
    }

    /// Waits for the last answers, and gives the time at which it was told to stop.
    pub async fn stop(mut self) -> Instant {
        let at = Instant::now();
        self.order.send_replace(Order::Stop);
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        at
    }
}

/// One client.
struct One {
    name: String,
    flow: Flow,
    client: Client,
    ledger: Arc<Ledger>,
    chance: fastrand::Rng,
    insists: bool,
    patience: Duration,
}

// === impl One ===

impl One {
    async fn run(mut self, mut order: watch::Receiver<Order>) {
        for number in 0.. {
            let flow = self.flow;
            let may = order.wait_for(|order| *order != Order::Rest || flow == Flow::Call);
            match may.await.as_deref() {
                Ok(Order::Stop) | Err(_) => return,
                Ok(Order::Call | Order::Rest) => {}
            }
            let id = format!("{}-{number}", self.name);
            let size = match self.chance.u8(..20) {
                0 => self.chance.usize(..60_000),
                _ => self.chance.usize(..600),
            };
            self.ledger.sent(&id, flow);
            loop {
                let answer = call(self.patience, &self.client, &self.ledger, flow, &id, size).await;
                if answer.is_success() {
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
                tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                if !self.insists || answer == Answer::Hung {
                    break;
                }
            }
        }
    }
}

/// One call of an id that the ledger knows, and how it ended.
pub async fn call(
    limit: Duration,
    client: &Client,
    ledger: &Ledger,
    flow: Flow,
    id: &str,
    size: usize,
) -> Answer {
    let path = match flow {
        Flow::Accept => "/take",
        Flow::Call => "/call",
    };
    let call = client
        .post(path)
        .header("message-id", id)
        .header("idempotency-key", id)
        .body(body_of(id, size));
    let answer = match timeout(limit, call.within(limit * 2).attempt()).await {
        Err(_) => Answer::Hung,
        Ok(Err(_)) => Answer::Broken,
        Ok(Ok(reply)) => judge(ledger, flow, id, &reply),
    };
    ledger.answered(id, answer);
    answer
}

fn judge(ledger: &Ledger, flow: Flow, id: &str, reply: &Reply) -> Answer {
    match (flow, reply.status.as_u16()) {
        (Flow::Accept, 202) => {
            let json = reply.json();
            if reply.header("message-id") != id || json["id"] != id {
                ledger.wrong(format!("{id} was answered with {}", reply.text()));
            }
            match json["status"].as_str() {
                Some("spooled") => Answer::Spooled,
                _ => Answer::Accepted,
            }
        }
        (Flow::Call, 200) => {
            match id_of(&reply.body) {
                Ok(whose) if whose == id => {}
                Ok(whose) => ledger.wrong(format!("{id} got the reply to {whose}")),
                Err(error) => ledger.wrong(format!("{id} got a reply that nobody sent: {error}")),
            }
            Answer::Replied
        }
        (_, status) => {
            reply.check_problem();
            let said = reply.header("message-id");
            if !said.is_empty() && said != id {
                ledger.wrong(format!("{id} was refused as {said}"));
            }
            Answer::Refused(status)
        }
    }
}
