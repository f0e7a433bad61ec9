//! The operator's pages, seen from a socket.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Admin, Readiness, State};
use crate::{
    amqp::NotReady,
    config::model::{
        Accepted, AmqpSource, AmqpTarget, Answer, Deliver, Failure, Flow, HeaderRules, HttpSource,
        HttpTarget, Inbound, Limits, Park, PathPattern, Retry, Route, Unroutable, UrlTarget,
    },
    policy::{Schedule, StatusSet},
    server::testing::{Answer as Got, Client, config, listener},
    telemetry::Metrics,
    template::{Part, Source, Template},
};

#[derive(Default)]
struct Told {
    not_ready: Mutex<Vec<NotReady>>,
    warnings: Mutex<Vec<NotReady>>,
    scrapes: AtomicU64,
}

impl State for Arc<Told> {
    fn readiness(&self) -> Readiness {
        Readiness {
            reasons: self.not_ready.lock().unwrap().clone(),
            warnings: self.warnings.lock().unwrap().clone(),
        }
    }

    fn refresh(&self) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
    }

    fn route_state(&self, route: &Route) -> String {
        format!("{} runs", route.name)
    }
}

async fn start(routes: Vec<Route>) -> (Client, Arc<Told>, CancellationToken) {
    let (listener, address) = listener().await;
    let told = Arc::new(Told::default());
    let mut config = config();
    config.routes = routes.into_iter().map(Arc::new).collect();
    let metrics = Metrics::new().unwrap();
    metrics.broker_sessions.inc_by(7);
    let admin = Admin::new(Arc::new(config), metrics, told.clone(), None);
    let stop = CancellationToken::new();
    let serving = admin.serve(listener, stop.clone(), CancellationToken::new());
    drop(crate::task::spawn(&TaskTracker::new(), "admin", serving));
    (Client::connect(address).await, told, stop)
}

async fn get(client: &mut Client, path: &str) -> Got {
    client
        .ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await
}

#[tokio::test]
async fn alive_says_nothing_about_the_broker() {
    let (mut client, told, _stop) = start(Vec::new()).await;
    told.not_ready.lock().unwrap().push(NotReady {
        part: "broker".to_owned(),
        reason: "down".to_owned(),
    });
    assert_eq!(get(&mut client, "/healthz").await.status, 200);
}

/// A load balancer goes on sending calls; a person sees what is the matter.
#[tokio::test]
async fn a_warning_does_not_make_it_unready() {
    let (mut client, told, _stop) = start(Vec::new()).await;
    told.warnings.lock().unwrap().push(NotReady {
        part: "broker".to_owned(),
        reason: "down".to_owned(),
    });
    let answer = get(&mut client, "/readyz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["warnings"][0]["reason"], "down");
}

#[tokio::test]
async fn readiness_gives_its_reasons_and_returns_by_itself() {
    let (mut client, told, _stop) = start(Vec::new()).await;
    told.not_ready.lock().unwrap().push(NotReady {
        part: "broker".to_owned(),
        reason: "connection refused".to_owned(),
    });
    let away = get(&mut client, "/readyz").await;
    assert_eq!(away.status, 503);
    let reasons = serde_json::json!([{"part": "broker", "reason": "connection refused"}]);
    assert_eq!(away.json()["reasons"], reasons);
    told.not_ready.lock().unwrap().clear();
    let back = get(&mut client, "/readyz").await;
    assert_eq!(back.status, 200);
    assert_eq!(back.json()["reasons"], serde_json::json!([]));
}

#[tokio::test]
async fn metrics_are_refreshed_and_in_the_text_format() {
    let (mut client, told, _stop) = start(Vec::new()).await;
    let page = get(&mut client, "/metrics").await;
    assert!(page.has("content-type: text/plain; version=0.0.4"));
    assert!(page.body.contains("\nhareway_broker_sessions_total 7\n"));
    assert_eq!(told.scrapes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn routes_are_told_with_what_they_guarantee_and_no_secret() {
    let (mut client, _told, _stop) = start(vec![accept(), deliver()]).await;
    let page = get(&mut client, "/routes").await;
    let expected = serde_json::json!({"routes": [
        {
            "name": "place-order",
            "place": "hareway.yaml:3:5",
            "flow": "accept",
            "from": "POST /orders/{region}",
            "to": "exchange `orders`, routing key `order.{path.region:-eu}`",
            "guarantee": "202 only after the broker has confirmed the message and put it into a queue",
            "state": "place-order runs",
        },
        {
            "name": "fulfil-order",
            "place": "hareway.yaml:9:5",
            "flow": "deliver",
            "from": "queue `orders.fulfilment`",
            "to": "POST http://127.0.0.1:9000/orders?…",
            "guarantee": "at least once; tried again after 1s, 2m, then parked in `poor`",
            "state": "fulfil-order runs",
        },
    ]});
    assert_eq!(page.json(), expected);
    assert!(!page.body.contains("hunter2"));
}

#[tokio::test]
async fn the_version_is_that_of_the_package() {
    let (mut client, _told, _stop) = start(Vec::new()).await;
    let page = get(&mut client, "/version").await.json();
    assert_eq!(page["name"], "hareway");
    assert_eq!(page["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let (mut client, _told, _stop) = start(Vec::new()).await;
    let missing = get(&mut client, "/secrets").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["type"], "urn:hareway:not-found");
    let wrong = client
        .ask("POST /routes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.has("allow: get, head"));
    assert_eq!(get(&mut client, "/version").await.status, 200);
}

/// The document has every page, by its method, and nothing else; and its references lead
/// somewhere.
#[test]
fn the_openapi_document_has_exactly_the_pages_that_there_are() {
    let document: serde_json::Value = serde_yaml::from_str(super::OPEN_API).unwrap();
    let verbs = ["get", "put", "post", "delete", "patch", "head", "options"];
    let paths = document["paths"].as_object().unwrap().iter();
    let documented: BTreeSet<(&str, &str)> = paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().map(String::as_str);
            let methods = methods.filter(|method| verbs.contains(method));
            methods.map(|method| (path.as_str(), method))
        })
        .collect();
    let pages = super::PAGES.iter().map(|(path, page)| match page.acts() {
        true => (*path, "post"),
        false => (*path, "get"),
    });
    assert_eq!(documented, pages.collect());
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20, "the references were not found");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_openapi_document_is_served() {
    let (mut client, _told, _stop) = start(Vec::new()).await;
    let page = get(&mut client, "/openapi.yaml").await;
    assert!(page.has("content-type: application/yaml"));
    assert!(page.body.starts_with("openapi: 3.1.0\n"));
}

/// What a browser would send for any web page without asking is not taken for an operator's wish.
#[tokio::test]
async fn only_json_makes_something_happen() {
    let (mut client, _told, _stop) = start(Vec::new()).await;
    for kind in ["", "Content-Type: text/plain\r\n"] {
        let request = format!(
            "POST /parked/q/discard HTTP/1.1\r\nHost: x\r\n{kind}Content-Length: 12\r\n\r\n{{\"all\":true}}"
        );
        let answer = client.ask(request).await;
        assert_eq!(answer.status, 400);
        let detail = answer.json()["detail"].clone();
        assert_eq!(detail, "the `Content-Type` must be application/json");
    }
}

/// Nor is what a page of another site, or of a site that calls itself this address, has it send.
#[tokio::test]
async fn only_local_callers_make_something_happen() {
    let (mut client, _told, _stop) = start(Vec::new()).await;
    for (line, path) in [
        ("GET", "/parked"),
        ("GET", "/spool"),
        ("POST", "/parked/q/replay"),
        ("POST", "/spool/r/apart/discard"),
    ] {
        let head = format!(
            "{line} {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 0\r\n"
        );
        let rebound = "Host: evil.example:9090\r\nOrigin: http://evil.example:9090\r\n";
        let answer = client.ask(format!("{head}{rebound}\r\n")).await;
        assert_eq!(answer.status, 403, "{line} {path}");
        assert_eq!(answer.json()["type"], "urn:hareway:forbidden");
        if line == "POST" {
            let other = "Host: localhost:9090\r\nOrigin: http://evil.example\r\n";
            let answer = client.ask(format!("{head}{other}\r\n")).await;
            assert_eq!(answer.status, 403, "{path}");
        }
    }
    // Probes and scrapers go by any name.
    let probe = "GET /healthz HTTP/1.1\r\nHost: hareway.shop.example:9090\r\n\r\n";
    assert_eq!(client.ask(probe).await.status, 200);
}

fn collect_references<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(reference) if name == "$ref" => found.push(reference),
                    _ => collect_references(member, found),
                }
            }
        }
        serde_json::Value::Array(items) => {
            items
                .iter()
                .for_each(|item| collect_references(item, found));
        }
        _ => {}
    }
}

fn accept() -> Route {
    let key = Template::from_parts(vec![
        Part::Literal("order.".into()),
        Part::Value {
            source: Source::Path("region".into()),
            verbatim: false,
            fallback: Some("eu".into()),
        },
    ]);
    Route {
        name: "place-order".into(),
        place: "hareway.yaml:3:5".to_owned(),
        flow: Flow::Inbound(Inbound {
            source: HttpSource {
                method: Some(http::Method::POST),
                path: PathPattern {
                    text: "/orders/{region}".to_owned(),
                    parameters: vec!["region".into()],
                    wildcard: false,
                },
                body_limit: 100,
            },
            target: AmqpTarget {
                exchange: "orders".to_owned(),
                routing_key: key,
                message_id: None,
                kind: None,
                priority: None,
                expiration: None,
                persistent: true,
                confirm_timeout: Duration::from_secs(5),
                unroutable: Unroutable::Refuse,
                carry_path: false,
            },
            headers: HeaderRules::default(),
            answer: Answer::Accepted(Accepted {
                status: StatusCode::ACCEPTED,
                body: None,
                headers: http::HeaderMap::new(),
            }),
            spool: None,
            idempotency: None,
            limits: Limits::default(),
        }),
    }
}

fn deliver() -> Route {
    let url = "http://user:hunter2@127.0.0.1:9000/orders?key=hunter2";
    let delays = vec![Duration::from_secs(1), Duration::from_secs(120)];
    Route {
        name: "fulfil-order".into(),
        place: "hareway.yaml:9:5".to_owned(),
        flow: Flow::Deliver(Deliver {
            source: AmqpSource {
                queue: "orders.fulfilment".to_owned(),
                concurrency: 16,
                prefetch: 32,
            },
            target: HttpTarget {
                url: UrlTarget::Exact(Template::literal(url)),
                method: Some(http::Method::POST),
                timeout: Duration::from_secs(30),
                success: StatusSet::success(),
                response_limit: 100,
            },
            headers: HeaderRules::default(),
            reply_headers: HeaderRules::default(),
            failure: Failure {
                retry: Some(Retry {
                    schedule: Schedule::new(delays, None).unwrap(),
                    on: StatusSet::retryable(),
                }),
                park: Park::Queue {
                    name: "poor".to_owned(),
                },
            },
            circuit: None,
            limits: Limits::default(),
        }),
    }
}
