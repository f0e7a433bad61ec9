use std::collections::BTreeSet;

use super::*;

#[test]
fn children_are_the_keys_directly_below() {
    assert_eq!(children("admin").collect::<Vec<_>>(), ["listen"]);
    assert_eq!(
        children("routes.*.to").collect::<Vec<_>>(),
        ["amqp", "http"]
    );
    let top: BTreeSet<_> = children("").collect();
    assert!(top.is_superset(&["amqp", "http", "routes", "include"].into()));
    assert_eq!(children("routes").count(), 0, "names are no keys");
    assert_eq!(children("no.such.path").count(), 0);
}

#[test]
fn every_path_is_there_once_and_has_its_parent() {
    let mut seen = BTreeSet::new();
    for key in all() {
        assert!(seen.insert(key.path), "{} is there twice", key.path);
        let parent = key.parent();
        let known = parent.is_empty() || find(parent).is_some();
        assert!(known, "{} has no parent in the table", key.path);
    }
}

#[test]
fn every_key_is_explained() {
    for key in all() {
        assert!(key.doc.ends_with('.'), "{}: {}", key.path, key.doc);
        assert!(!key.example.is_empty(), "{} has no example", key.path);
    }
}

#[test]
fn a_misplaced_key_is_sent_to_its_only_place() {
    assert_eq!(elsewhere("retry").as_deref(), Some("routes.NAME.retry"));
    assert_eq!(
        elsewhere("routing_key").as_deref(),
        Some("routes.NAME.to.amqp.routing_key")
    );
    assert_eq!(elsewhere("timeout"), None, "there are two of them");
    assert_eq!(elsewhere("nonsense"), None);
}

#[test]
fn later_keys_are_not_in_the_table() {
    assert!(not_available("routes.*", "verify").is_some());
    assert!(not_available("", "verify").is_none());
    for (parent, name, _) in LATER {
        assert!(children(parent).all(|key| key != *name), "{parent}.{name}");
    }
}
