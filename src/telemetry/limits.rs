//! What each route allows at most, beside which its gauges can be read.

use super::Metrics;
use crate::config::{
    Config,
    model::{Answer, Flow},
};

/// Sets the limits of every route, once: they do not change while the process runs.
pub fn expose(config: &Config, metrics: &Metrics) {
    for route in &config.routes {
        let (in_flight, waiting, spool) = match &route.flow {
            Flow::Deliver(deliver) => (Some(deliver.source.concurrency), None, None),
            Flow::Inbound(inbound) => {
                let waiting = match &inbound.answer {
                    Answer::Reply(reply) => Some(reply.waiting),
                    Answer::Accepted(_) => None,
                };
                let spool = inbound.spool.as_ref().map(|spool| spool.max_bytes);
                (inbound.limits.concurrency, waiting, spool)
            }
        };
        let limits = [
            ("in_flight", in_flight.map(count)),
            ("waiting_replies", waiting.map(count)),
            ("spool_bytes", spool),
        ];
        for (limit, most) in limits {
            if let Some(most) = most {
                metrics.route_limit(&route.name, limit, most);
            }
        }
    }
}

fn count(most: usize) -> u64 {
    u64::try_from(most).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources, raw::ProcessEnvironment};

    const ROUTES: &str = "\
queues: { q: {} }
routes:
  spooled: { from: { http: POST /a }, to: { amqp: q }, spool: { max_bytes: 2MiB } }
  plain: { from: { http: POST /b }, to: { amqp: q } }
  held: { from: { http: POST /c }, to: { amqp: q }, reply: { waiting: 7 }, limits: { concurrency: 5 } }
  out: { from: { amqp: w }, to: { http: 'http://127.0.0.1' }, limits: { concurrency: 3 } }
";

    #[test]
    fn each_limit_of_a_route_can_be_read_beside_its_gauge() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hareway.yaml");
        std::fs::write(&file, ROUTES).unwrap();
        let sources = Sources {
            files: vec![file],
            set: Vec::new(),
        };
        let loaded = config::load(&sources, &ProcessEnvironment::default()).unwrap();
        let metrics = Metrics::new().unwrap();
        expose(&loaded.config, &metrics);
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("hareway_route_limit{"))
            .collect();
        assert_eq!(
            lines,
            [
                "hareway_route_limit{limit=\"in_flight\",route=\"held\"} 5",
                "hareway_route_limit{limit=\"in_flight\",route=\"out\"} 3",
                "hareway_route_limit{limit=\"spool_bytes\",route=\"spooled\"} 2097152",
                "hareway_route_limit{limit=\"waiting_replies\",route=\"held\"} 7",
            ]
        );
    }
}
