//! Three nodes, each a host of its own in a small network.

use std::path::{Path, PathBuf};

use tokio::{net::TcpStream, process::Command};

use crate::{
    arena::in_root,
    scene::PATIENCE,
    support::{Broker, broker::Setup, eventually, lifeline::Guard},
};

/// A side without a majority stops, so that nothing is decided twice; a silent neighbour is gone
/// after seconds instead of a minute.
const CONF: &str = "\
loopback_users = none
cluster_partition_handling = pause_minority
net_ticktime = 5
";

/// Ends with the value. The network goes last.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Broker>,
    network: String,
    _guard: Guard,
}

impl Cluster {
    /// Joined, each with every queue's copy.
    pub async fn start(root: Option<&Path>) -> Self {
        let network = format!("hw{:x}", fastrand::u16(0x1000..));
        let path = script().to_str().expect("UTF-8").to_owned();
        let guard = Guard::new(r#""$1" down "$2""#, &[&path, &network]);
        let addresses = run(&["up", &network]).await;
        let mut nodes = Vec::new();
        for (number, address) in (1..).zip(addresses.lines()) {
            let host = format!("{network}-{number} {network}n{number} {address}");
            let mut env = in_root(root);
            env.push(("HAREWAY_BROKER_HOST", host));
            env.push(("HAREWAY_BROKER_COOKIE", format!("COOKIE{network}")));
            let setup = Setup {
                conf: CONF.to_owned(),
                env,
                ..Setup::default()
            };
            nodes.push(Broker::further(setup).await);
        }
        for node in &nodes[1..] {
            let first = format!("hareway-20000@{network}n1");
            node.ctl(&["stop_app"]).await;
            node.ctl(&["join_cluster", &first]).await;
            node.ctl(&["start_app"]).await;
        }
        Self {
            nodes,
            network,
            _guard: guard,
        }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.url().to_owned())
            .collect()
    }

    pub fn node(&self, number: usize) -> &Broker {
        &self.nodes[number]
    }

    /// The number of the node that leads the queue.
    pub async fn leader(&self, queue: &str) -> usize {
        let list = ["list_queues", "--no-table-headers", "name", "leader"];
        let found = self.nodes[0].ctl(&list).await;
        let line = found.lines().find(|line| line.starts_with(queue));
        let leader = line.unwrap_or_else(|| panic!("no {queue} in {found}"));
        let number = leader.chars().last().and_then(|digit| digit.to_digit(10));
        number.expect("a host's number") as usize - 1
    }

    /// Every node takes connections: one that was in the minority pauses for a while longer.
    pub async fn whole(&self) {
        for node in &self.nodes {
            eventually(PATIENCE, "the node is back", async || {
                let connected = TcpStream::connect(node.address()).await;
                connected.map(drop).map_err(|error| error.to_string())
            })
            .await;
        }
    }

    /// The node hears and reaches nobody.
    pub async fn isolate(&self, number: usize) {
        run(&["cut", &self.network, &(number + 1).to_string()]).await;
    }

    pub async fn heal(&self, number: usize) {
        run(&["heal", &self.network, &(number + 1).to_string()]).await;
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/network")
}

async fn run(arguments: &[&str]) -> String {
    let output = Command::new(script()).args(arguments).output().await;
    let output = output.expect("scripts/network starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "network {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
