//! One host in several registries is one service.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use pilot::catalog::{Catalog, Source};
use pilot_registry::{Protocol, Service};
use pilot_registry_testkit::{service, snapshot, strategies};
use proptest::prelude::*;

fn source(registry: &str, priority: u32, services: impl IntoIterator<Item = Arc<Service>>) -> Source {
    Source { registry: registry.into(), priority, snapshot: Arc::new(snapshot(services)) }
}

fn merge(sources: &[Source]) -> Catalog {
    Catalog::merge(sources, &Catalog::default())
}

#[test]
fn endpoints_of_all_registries_are_united_and_remember_their_origin() {
    let east = service("a.local").http(80).endpoint("10.0.0.1", 80).build();
    let west = service("a.local").http(80).endpoint("10.0.1.1", 80).build();
    let catalog = merge(&[source("west", 1, [west]), source("east", 0, [east])]);
    let merged = catalog.get("a.local").unwrap();
    let seen: Vec<_> = merged
        .endpoints()
        .map(|(part, endpoint)| (part.registry.to_string(), part.priority, endpoint.address.to_string()))
        .collect();
    let expected = [("east", 0, "10.0.0.1"), ("west", 1, "10.0.1.1")];
    assert_eq!(seen, expected.map(|(registry, priority, ip)| (registry.to_owned(), priority, ip.to_owned())));
}

#[test]
fn the_preferred_registry_decides_and_then_the_name() {
    let http = service("a.local").http(80).build();
    let tcp = service("a.local").tcp(80).tcp(81).build();
    let protocol = |sources: &[Source]| merge(sources).get("a.local").unwrap().ports()[0].protocol;
    let by_priority = [source("a", 1, [Arc::clone(&tcp)]), source("b", 0, [Arc::clone(&http)])];
    assert_eq!(protocol(&by_priority), Protocol::Http);
    let by_name = [source("b", 0, [Arc::clone(&http)]), source("a", 0, [Arc::clone(&tcp)])];
    assert_eq!(protocol(&by_name), Protocol::Tcp);
    assert_eq!(merge(&by_priority).get("a.local").unwrap().ports().len(), 2, "ports are united");
}

#[test]
fn an_unchanged_service_keeps_its_allocation() {
    let (a, b) = (service("a.local").http(80).build(), service("b.local").http(80).build());
    let before = merge(&[source("east", 0, [Arc::clone(&a), Arc::clone(&b)])]);
    let changed = service("b.local").http(81).build();
    let after = Catalog::merge(&[source("east", 0, [Arc::clone(&a), changed])], &before);
    assert!(Arc::ptr_eq(before.get("a.local").unwrap(), after.get("a.local").unwrap()));
    assert!(!Arc::ptr_eq(before.get("b.local").unwrap(), after.get("b.local").unwrap()));
    assert!(!after.same(&before));
    assert!(Catalog::merge(&[source("east", 0, [a, b])], &before).same(&before));
}

#[test]
fn a_service_that_moves_to_another_registry_is_another_service() {
    let a = service("a.local").http(80).build();
    let before = merge(&[source("east", 0, [Arc::clone(&a)])]);
    let after = Catalog::merge(&[source("west", 0, [a])], &before);
    assert!(!after.same(&before));
}

proptest! {
    /// Sources come in any order, and merging upon an older catalog is merging from nothing.
    #[test]
    fn the_catalog_depends_on_nothing_but_the_sources(
        (one, other) in strategies::shuffled_snapshots(),
        older in strategies::snapshot(),
        third in strategies::snapshot(),
    ) {
        let named = |name: &str, snapshot| Source { registry: name.into(), priority: 0, snapshot: Arc::new(snapshot) };
        let forth = [named("a", one), named("b", third.clone())];
        let back = [named("b", third), named("a", other)];
        let old = merge(&[named("a", older)]);
        prop_assert_eq!(&merge(&forth), &merge(&back));
        prop_assert_eq!(&Catalog::merge(&forth, &old), &merge(&back));
    }
}
