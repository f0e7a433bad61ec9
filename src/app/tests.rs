use std::path::Path;

use super::*;
use crate::config::{self, Sources, raw::ProcessEnvironment};

const YAML: &str = r#"
queues: { orders: {}, quotes: {} }
routes:
  take-order:
    from: { http: "POST /orders" }
    to: { amqp: orders }
    spool: true
  price-quote:
    from: { http: "POST /quotes" }
    to: { amqp: quotes }
    reply: { timeout: 5s }
"#;

fn load(folder: &Path) -> Config {
    let file = folder.join("hareway.yaml");
    let store = folder.join("store");
    let yaml = format!("store: {{ path: {} }}{YAML}", store.display());
    std::fs::write(&file, yaml).unwrap();
    let sources = Sources {
        files: vec![file],
        ..Sources::default()
    };
    let loaded = config::load(&sources, &ProcessEnvironment::default());
    loaded.unwrap().config
}

async fn listeners() -> Listeners {
    Listeners {
        http: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        admin: TcpListener::bind("127.0.0.1:0").await.unwrap(),
    }
}

/// Nothing is left running, and nobody has the store any more.
#[tokio::test]
async fn a_bridge_that_cannot_start_leaves_its_store_closed() {
    let folder = tempfile::tempdir().unwrap();
    let config = load(folder.path());
    let mut app = App::build(config.clone(), listeners().await).unwrap();
    let mut broken = config;
    broken.amqp.instance = "x".repeat(300);
    let mut broker = Broker::new(&broken, &app.metrics);
    std::mem::swap(&mut app.broker, &mut broker);
    app.config = Arc::new(broken);
    let failed = app.run(Shutdown::default()).await.unwrap_err();
    assert!(matches!(failed, AppError::Broker(_)), "{failed}");
    let store = Store::open(&folder.path().join("store")).unwrap();
    store.close().await;
}

/// Whichever part fails, the whole hears of it; one that ends without a panic has done its work.
#[tokio::test]
async fn a_part_that_fails_is_missed() {
    let tracker = TaskTracker::new();
    for failing in ["http listener", "forwarding", "emptying a spool"] {
        let work = move |part: &'static str| async move {
            assert_ne!(part, failing, "a defect");
            0
        };
        let links = [(); 2].map(|()| task::spawn(&tracker, "link", std::future::pending()));
        let (mut http, mut forwarding, mut spools) = Default::default();
        JoinSet::spawn(&mut http, work("http listener"));
        JoinSet::spawn(&mut forwarding, work("forwarding"));
        JoinSet::spawn(&mut forwarding, std::future::pending());
        JoinSet::spawn(
            &mut spools,
            async move { _ = work("emptying a spool").await },
        );
        let (part, panic) = failure(links, [&mut http, &mut forwarding], &mut spools).await;
        assert_eq!(part, failing);
        assert!(panic.to_string().contains("a defect"), "{panic}");
    }
}
