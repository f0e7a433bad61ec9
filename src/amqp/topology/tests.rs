//! What a configuration stands for at the broker.

use std::{collections::BTreeMap, io::Write};

use lapin::types::AMQPValue;

use super::plan::{Ownership, Plan, PlannedQueue, plan};
use crate::config::{self, Sources, raw::ProcessEnvironment};

fn planned(yaml: &str) -> Plan {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let sources = Sources {
        files: vec![file.path().to_owned()],
        set: vec!["amqp.instance=here".to_owned()],
    };
    match config::load(&sources, &ProcessEnvironment::default()) {
        Ok(loaded) => plan(&loaded.config),
        Err(found) => panic!("{found}"),
    }
}

fn queue<'a>(plan: &'a Plan, name: &str) -> &'a PlannedQueue {
    plan.queues
        .iter()
        .find(|queue| queue.name == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

fn arguments(queue: &PlannedQueue) -> BTreeMap<&str, String> {
    let shown = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    queue
        .arguments
        .inner()
        .iter()
        .map(|(key, value)| (key.as_str(), shown(value)))
        .collect()
}

/// Each tier is a queue of its own with its delay as TTL, dead-lettered back at least once.
#[test]
fn a_tier_gives_back_to_its_work_queue() {
    let plan = planned(
        "routes: { r: { from: { amqp: work }, to: { http: \"http://h/\" }, retry: [5s, 1s, 5s] } }",
    );
    let tier = arguments(queue(&plan, "hareway.retry.r.5s"));
    assert_eq!(tier["x-message-ttl"], "5000");
    assert_eq!(tier["x-dead-letter-exchange"], "");
    assert_eq!(tier["x-dead-letter-routing-key"], "work");
    assert_eq!(tier["x-dead-letter-strategy"], "at-least-once");
    assert_eq!(tier["x-overflow"], "reject-publish");
    assert_eq!(
        plan.queues
            .iter()
            .filter(|queue| queue.name.starts_with("hareway.retry."))
            .count(),
        2
    );
}

/// What the broker itself drops from a work queue goes to the parked queue, which is made first.
#[test]
fn a_work_queue_dead_letters_into_its_parked_queue() {
    let plan = planned("routes: { r: { from: { amqp: work }, to: { http: \"http://h/\" } } }");
    let work = arguments(queue(&plan, "work"));
    assert_eq!(work["x-dead-letter-routing-key"], "hareway.parked.r");
    assert_eq!(work["x-dead-letter-strategy"], "at-least-once");
    let place = |name: &str| plan.queues.iter().position(|queue| queue.name == name);
    assert!(place("hareway.parked.r") < place("work"));
}

/// Requests expire by design when their caller has gone: they are not parked.
#[test]
fn a_queue_of_requests_does_not_dead_letter() {
    let plan = planned(
        "routes: { r: { from: { http: \"* /x\" }, via: q, to: { http: \"http://h\" }, reply: { timeout: 1s } } }",
    );
    assert!(!arguments(queue(&plan, "q")).contains_key("x-dead-letter-exchange"));
    let replies = queue(&plan, "hareway.reply.here");
    assert_eq!(replies.ownership, Ownership::Process);
    assert_eq!(arguments(replies)["x-expires"], "600000");
}

/// With one broker a reply queue is the cheaper kind; with several it outlives the loss of a node.
#[test]
fn a_reply_queue_is_replicated_where_there_are_several_brokers() {
    let routes = "routes: { r: { from: { http: \"POST /x\" }, to: { amqp: q }, reply: {} } }";
    let kind = |urls: &str| {
        let plan = planned(&format!(
            "amqp: {{ urls: [{urls}] }}\nqueues: {{ q: {{}} }}\n{routes}"
        ));
        let found = arguments(queue(&plan, "hareway.reply.here"));
        found["x-queue-type"].clone()
    };
    assert_eq!(kind("\"amqp://one/\""), "classic");
    assert_eq!(kind("\"amqp://one/\", \"amqp://two/\""), "quorum");
}

/// The user's arguments win, and half of a dead-lettering policy is never mixed with ours.
#[test]
fn the_users_arguments_win() {
    let plan = planned(
        "queues: { work: { arguments: { x-overflow: drop-head, x-max-length: 10 } } }\n\
         routes: { r: { from: { amqp: work }, to: { http: \"http://h/\" } } }",
    );
    let work = arguments(queue(&plan, "work"));
    assert_eq!(work["x-overflow"], "drop-head");
    assert_eq!(work["x-max-length"], "10");
    assert_eq!(work["x-dead-letter-routing-key"], "hareway.parked.r");
    assert!(!work.contains_key("x-dead-letter-strategy"));
}

#[test]
fn what_is_external_is_left_alone() {
    let plan = planned(
        "queues: { work: { external: true } }\n\
         routes: { r: { from: { amqp: work }, to: { http: \"http://h/\" } } }",
    );
    assert_eq!(queue(&plan, "work").ownership, Ownership::External);
    assert_eq!(
        queue(&plan, "hareway.parked.r").ownership,
        Ownership::Configured
    );
}
