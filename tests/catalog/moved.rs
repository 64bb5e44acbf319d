//! Which addresses a change of the catalog is about.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use pilot::catalog::{Catalog, Source, Workload};
use pilot_registry::{Address, Health, Locality, Service, Snapshot};
use pilot_registry_testkit::{ServiceBuilder, service, strategies};
use proptest::prelude::*;

use super::{merge, source};

fn moved(before: &Catalog, services: impl IntoIterator<Item = Arc<Service>>) -> Vec<String> {
    let after = Catalog::merge(&[source("east", 0, services)], before);
    after.moved(before).iter().map(IpAddr::to_string).collect()
}

#[test]
fn only_addresses_of_which_something_else_is_known_have_moved() {
    let first = || service("web.local").http(80).endpoint("10.0.0.1", 80);
    let both = |builder: ServiceBuilder| builder.endpoint("10.0.0.2", 80);
    let other = service("other.local").http(80).endpoint("10.0.0.3", 80).build();
    let before = merge(&[source("east", 0, [both(first()).build(), Arc::clone(&other)])]);
    let moved = |builder: ServiceBuilder| moved(&before, [builder.build(), Arc::clone(&other)]);
    let none: [&str; 0] = [];
    assert_eq!(moved(both(first())), none);
    assert_eq!(moved(both(first().weight(7).health(Health::Unhealthy))), none, "it is about traffic");
    assert_eq!(moved(both(first()).service_label("owner", "me").alias("web")), none);
    assert_eq!(moved(both(first()).endpoint("10.0.0.4", 80)), ["10.0.0.4"]);
    assert_eq!(moved(first()), ["10.0.0.2"]);
    assert_eq!(moved(both(first().label("version", "v2"))), ["10.0.0.1"]);
    assert_eq!(moved(both(first().zone("a"))), ["10.0.0.1"]);
    assert_eq!(moved(both(first()).namespace("shop")), ["10.0.0.1", "10.0.0.2"]);
    let gone = Catalog::merge(&[], &before).moved(&before);
    assert_eq!(gone.len(), 3, "{gone:?}");
    let elsewhere = source("west", 0, [both(first()).build(), Arc::clone(&other)]);
    assert!(
        Catalog::merge(&[elsewhere], &before).moved(&before).is_empty(),
        "another registry says the same"
    );
}

#[test]
fn whether_places_or_namespaces_are_known_is_told_and_not_how_many_are_there() {
    let web = || service("web.local").http(80).endpoint("10.0.0.1", 80).zone("a");
    let named = |host: &str| service(host).http(80).namespace("shop").local_name("web").build();
    let before = merge(&[source("east", 0, [web().build(), named("web.shop")])]);
    let alike = |services: Vec<Arc<Service>>| {
        let after = Catalog::merge(&[source("east", 0, services)], &before);
        (after.knows_the_places_of(&before), after.has_the_namespaces_of(&before))
    };
    let more = service("more.local").http(80).endpoint("10.0.0.2", 80).zone("a").build();
    assert_eq!(alike(vec![web().build(), more, named("web.shop"), named("api.shop")]), (true, true));
    assert_eq!(alike(vec![web().zone("b").build(), named("web.shop")]), (false, true));
    assert_eq!(alike(vec![web().build()]), (true, false));
}

/// Services drawn at random, some with local names.
fn snapshots() -> impl Strategy<Value = Snapshot> {
    (strategies::snapshot(), any::<u8>()).prop_map(|(drawn, named)| {
        let services = drawn.services().iter().enumerate().map(|(at, service)| {
            let mut spec = Service::clone(service).into_spec();
            if named >> at & 1 == 1 {
                spec.local_names.push(format!("local{at}").parse().unwrap());
            }
            Arc::new(Service::new(spec).unwrap())
        });
        Snapshot::new(services).unwrap()
    })
}

/// Where any of these has an endpoint.
fn addresses(catalogs: [&Catalog; 2]) -> BTreeSet<IpAddr> {
    let services = catalogs.into_iter().flat_map(|catalog| catalog.services());
    let endpoints = services.flat_map(|service| service.endpoints().map(|(_, endpoint)| endpoint));
    let ip = |address: &Address| if let Address::Ip(ip) = address { Some(ip.to_canonical()) } else { None };
    endpoints.filter_map(|endpoint| ip(&endpoint.address)).collect()
}

proptest! {
    /// However services come, change, move between registries and go.
    #[test]
    fn moved_is_what_comparing_all_addresses_shows(
        steps in prop::collection::vec([snapshots(), snapshots()], 1..6),
    ) {
        let mut before = Catalog::default();
        for [one, other] in steps {
            let named = |name: &str, priority, snapshot| {
                Source::new(name, priority, Arc::new(snapshot))
            };
            let after = Catalog::merge(&[named("one", 0, one), named("other", 1, other)], &before);
            let facts = |catalog: &Catalog, at: IpAddr| {
                let workload = catalog.workload(at)?;
                let facts = Workload::facts(&workload);
                let identity = facts.identity.map(|id| id.as_str().to_owned());
                Some((facts.namespace.cloned(), facts.locality, facts.labels, identity))
            };
            let mut expected = addresses([&before, &after]);
            expected.retain(|at| facts(&before, *at) != facts(&after, *at));
            prop_assert_eq!(after.moved(&before), expected);
            let places = |catalog: &Catalog| -> BTreeSet<Locality> {
                let endpoints = catalog.services().iter().flat_map(|service| service.endpoints());
                endpoints.map(|(_, endpoint)| endpoint.locality.clone()).collect()
            };
            prop_assert_eq!(after.knows_the_places_of(&before), places(&after) == places(&before));
            before = after;
        }
    }
}
