//! One host in several registries is one service.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "catalog/guesses.rs"]
mod guesses;
#[path = "catalog/moved.rs"]
mod moved;
#[path = "catalog/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot::catalog::{Catalog, Source};
use pilot_registry::{Content, Protocol, Resolution, Service, ServiceId, Snapshot};
use pilot_registry_testkit::{service, snapshot, strategies};
use proptest::prelude::*;

fn source(registry: &str, priority: u32, services: impl IntoIterator<Item = Arc<Service>>) -> Source {
    Source::new(registry, priority, Arc::new(snapshot(services)))
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

fn disagreements(catalog: &Catalog) -> Vec<String> {
    catalog.disagreements().map(|(host, disagreement)| format!("{host}: {disagreement}")).collect()
}

#[test]
fn what_registries_disagree_about_is_said_with_what_each_says_and_whose_word_is_taken() {
    let east = service("a.local").http(80).named_port(90, "admin", Protocol::Http).build();
    let west = service("a.local")
        .tcp(80)
        .named_port(91, "admin", Protocol::Http)
        .resolution(Resolution::Dns)
        .namespace("shop")
        .build();
    let sources = [source("west", 0, [west]), source("east", 0, [Arc::clone(&east)])];
    let expected = [
        "a.local: resolution: registry east says endpoints, registry west says dns, \
         east decides: of equal priority, its name comes first",
        "a.local: namespace: registry east says default, registry west says shop, \
         east decides: of equal priority, its name comes first",
        "a.local: protocol of port 80: registry east says http, registry west says tcp, \
         east decides: of equal priority, its name comes first",
        "a.local: number of port \"admin\": registry east says 90, registry west says 91, \
         east decides: of equal priority, its name comes first; the service has all of these ports",
    ];
    assert_eq!(disagreements(&merge(&sources)), expected);

    let catalog =
        merge(&[source("east", 1, [east]), source("west", 0, [service("a.local").tcp(80).build()])]);
    let disagreement = &catalog.get("a.local").unwrap().disagreements()[0];
    let said: Vec<_> =
        disagreement.said.iter().map(|it| (it.registry.as_str(), it.priority, it.value.as_str())).collect();
    assert_eq!(said, [("west", 0, "tcp"), ("east", 1, "http")]);
    assert_eq!((disagreement.taken().registry.as_str(), disagreement.reason()), ("west", "it is preferred"));
}

/// Unions are no disagreements: that is what several registries are for.
#[test]
fn registries_that_complete_each_other_do_not_disagree() {
    let one = service("a.local").http(80).endpoint("10.0.0.1", 80).alias("a").build();
    let other = service("a.local").http(80).http(81).endpoint("10.0.0.1", 80).zone("b").weight(7).alias("b");
    let catalog = merge(&[source("east", 0, [one]), source("west", 1, [other.build()])]);
    assert_eq!(disagreements(&catalog), Vec::<String>::new());
}

/// A service that a file and a cluster know is called by short names where the cluster says so, though the file
/// leads and says nothing of namespaces.
#[test]
fn a_local_name_is_of_the_namespace_of_the_registry_that_says_it() {
    let in_file = service("web.shop").http(80).alias("shop-web").build();
    let local =
        |namespace: &str, name: &str| service("web.shop").http(80).namespace(namespace).local_name(name);
    let in_east = local("shop", "web").local_name("shop-web").build();
    let in_west = local("bank", "web").build();
    let known = |catalog: &Catalog, names: [&str; 3]| {
        names.map(|name| catalog.differs_in(&name.to_owned().try_into().unwrap()))
    };
    let sources = [source("file", 0, [in_file]), source("east", 1, [in_east]), source("west", 1, [in_west])];
    let catalog = merge(&sources);
    let web = catalog.get("web.shop").unwrap();
    let names: Vec<_> = web.local_names().iter().map(|(of, name)| (of.as_str(), name.as_str())).collect();
    assert_eq!(names, [("bank", "web"), ("shop", "web")], "what everybody says is no local name");
    assert_eq!(known(&catalog, ["bank", "shop", "default"]), [true, true, false]);
    let after = Catalog::merge(&sources[..2], &catalog);
    assert_eq!(known(&after, ["bank", "shop", "default"]), [false, true, false]);
    assert_eq!(known(&Catalog::merge(&[], &after), ["bank", "shop", "default"]), [false; 3]);
}

/// A service that not everybody sees is its namespace's, and never part of another one of that host.
#[test]
fn services_of_one_host_and_different_owners_are_different_services() {
    let db = |endpoint: &str| service("db.example").tcp(80).endpoint(endpoint, 80);
    let own = |endpoint: &str, namespace: &str, words: &[&str]| {
        db(endpoint).namespace(namespace).export_to(words).build()
    };
    let east = [db("10.0.0.1").build(), own("10.0.0.2", "shop", &["."]), own("10.0.0.3", "bank", &["."])];
    let west = [db("10.1.0.1").build(), own("10.1.0.2", "shop", &[".", "bank"])];
    let sources = [source("east", 0, east), source("west", 0, west)];
    let catalog = merge(&sources);
    let shown: Vec<_> = catalog
        .services()
        .iter()
        .map(|service| format!("{} {} {}", service.id(), service.endpoints().count(), service.visibility()))
        .collect();
    assert_eq!(
        shown,
        [
            "db.example 2 everybody",
            "db.example of namespace bank 1 namespace bank",
            "db.example of namespace shop 2 namespace shop"
        ]
    );
    assert_eq!(
        disagreements(&catalog),
        [
            "db.example of namespace shop: export_to: registry east says namespace shop, registry west says namespace \
          bank, shop, east decides: of equal priority, its name comes first"
        ]
    );
    let after = Catalog::merge(&sources, &catalog);
    assert!(after.same(&catalog), "what did not change is the same allocation");
    assert_eq!(Catalog::merge(&sources[1..], &catalog).services().len(), 2);
}

#[test]
fn only_what_is_new_is_told() {
    let http = |host| service(host).http(80).build();
    let tcp = |host| service(host).tcp(80).build();
    let sources = |east, west| [source("east", 0, east), source("west", 0, west)];
    let new = |now: &Catalog, before: &Catalog| -> Vec<String> {
        now.disagreements_since(before).map(|(host, _)| host.to_string()).collect()
    };
    let first = merge(&sources(vec![http("a.local"), http("b.local")], vec![tcp("a.local")]));
    assert_eq!(new(&first, &Catalog::default()), ["a.local"]);
    let both = sources(vec![http("a.local"), http("b.local")], vec![tcp("a.local"), tcp("b.local")]);
    let second = Catalog::merge(&both, &first);
    assert_eq!(new(&second, &first), ["b.local"]);
    assert!(new(&first, &second).is_empty());
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
        let named = |name: &str, snapshot| Source::new(name, 0, Arc::new(snapshot));
        let forth = [named("a", one), named("b", third.clone())];
        let back = [named("b", third), named("a", other)];
        let old = merge(&[named("a", older)]);
        prop_assert_eq!(&merge(&forth), &merge(&back));
        prop_assert_eq!(&Catalog::merge(&forth, &old), &merge(&back));
    }

    /// What differs of one registry is found by pointers, as sinks give them.
    #[test]
    fn a_catalog_that_follows_is_the_one_from_nothing(
        steps in prop::collection::vec((strategies::snapshot(), any::<bool>()), 1..6),
        third in strategies::snapshot(),
    ) {
        let mut last = [Arc::new(Snapshot::default()), Arc::new(third)];
        let mut catalog = Catalog::default();
        for (next, is_first) in steps {
            let at = usize::from(is_first);
            // Half of what was there stays.
            let services: BTreeMap<ServiceId, Arc<Service>> = last[at]
                .services()
                .iter()
                .enumerate()
                .filter(|(number, _)| number % 2 == 0)
                .chain(next.services().iter().enumerate())
                .map(|(_, service)| (service.id(), Arc::clone(service)))
                .collect();
            let next = Snapshot::new(services.into_values()).unwrap();
            last[at] = Arc::new(Content::reusing(next, &last[at]));
            let sources = [Source::new("a", 0, Arc::clone(&last[0])), Source::new("b", 0, Arc::clone(&last[1]))];
            catalog = Catalog::merge(&sources, &catalog);
            prop_assert_eq!(&catalog, &merge(&sources));
            let again = Catalog::merge(&sources, &catalog);
            prop_assert!(again.same(&catalog));
        }
    }
}
