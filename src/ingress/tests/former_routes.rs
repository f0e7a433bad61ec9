//! What a route promised while it had a spool is kept when it has none, or is gone.

use std::path::Path;

use super::{
    Bridge, IN_FLIGHT, accepted, inbound, route,
    spool::{id_of, order, with_spool},
};
use crate::{
    amqp::Outcome,
    store::{Spool, Store},
};

const ROUTE: &str = "place-order";

/// A store with one message of a route that is not there any more.
async fn left_by_a_former_route(folder: &Path) -> (Store, Spool) {
    let store = Store::open(folder).unwrap();
    let spool = store.spool(&"former".into(), with_spool().spool.as_ref().unwrap());
    spool.append(order("m-1", "x".into())).await.unwrap();
    (store, spool)
}

async fn is_published(bridge: &mut Bridge, spool: &Spool) {
    let taken = bridge.broker.take().await;
    assert_eq!(id_of(taken.publish()), "m-1");
    taken.end(Outcome::Routed);
    bridge
        .eventually("it is removed", |_| spool.is_empty())
        .await;
}

#[tokio::test]
async fn what_a_former_route_left_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let (store, spool) = left_by_a_former_route(folder.path()).await;
    let routes = vec![route(ROUTE, inbound(accepted()))];
    let mut bridge = Bridge::with_store(IN_FLIGHT, routes, Some(&store)).await;
    is_published(&mut bridge, &spool).await;
}

/// Also where nothing of it was in line at the start: what is returned later has to leave as well.
#[tokio::test]
async fn what_is_returned_to_a_former_route_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let (store, spool) = left_by_a_former_route(folder.path()).await;
    let key = spool.first(1, 1).await.unwrap().remove(0).key;
    spool.set_apart(vec![key], "unroutable").await.unwrap();
    let routes = vec![route(ROUTE, inbound(accepted()))];
    let mut bridge = Bridge::with_store(IN_FLIGHT, routes, Some(&store)).await;
    assert_eq!(spool.return_to_line(vec![key]).await, Ok(1));
    is_published(&mut bridge, &spool).await;
}
