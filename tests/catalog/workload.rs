//! Whose address it is: the workload at an address, out of all services.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use pilot::catalog::{Catalog, CatalogService, Source};
use pilot_registry::{Address, Endpoint, Locality, Port, Protocol, Service, ServicePort, ServiceSpec};
use pilot_registry_testkit::{ServiceBuilder, service};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::{merge, source};

const POD: &str = "10.9.0.7";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An endpoint at the pod's address.
fn at_pod(host: &str, port: u32) -> ServiceBuilder {
    service(host).http(port).endpoint(POD, 8000 + port)
}

fn identified(builder: ServiceBuilder, id: &str) -> Arc<Service> {
    let mut spec: ServiceSpec = builder.build().as_ref().clone().into_spec();
    spec.endpoints.iter_mut().for_each(|endpoint| endpoint.identity = Some(id.parse().unwrap()));
    Arc::new(Service::new(spec).unwrap())
}

fn place(region: &str, zone: &str, sub_zone: &str) -> Locality {
    Locality { region: region.into(), zone: zone.into(), sub_zone: sub_zone.into() }
}

/// Services that each have an endpoint of that place at the pod's address.
fn in_places(places: &[Locality]) -> Catalog {
    let of_place = |(number, place): (usize, &Locality)| {
        let mut spec = at_pod(&format!("s{number}.local"), 80).build().as_ref().clone().into_spec();
        spec.endpoints[0].locality = place.clone();
        Arc::new(Service::new(spec).unwrap())
    };
    merge(&[source("east", 0, places.iter().enumerate().map(of_place))])
}

#[test]
fn a_workload_is_all_that_its_endpoints_agree_about() {
    let web = at_pod("web.local", 80).label("app", "web").label("tier", "front").region("eu").zone("a");
    let metrics = at_pod("metrics.local", 90).serving(90, 8091).label("app", "web").region("eu").zone("a");
    let other = service("other.local").http(80).endpoint("10.9.0.8", 80).label("app", "other");
    let id = "spiffe://mesh/ns/shop/sa/web";
    let services =
        [identified(web.namespace("shop"), id), identified(metrics.namespace("shop"), id), other.build()];
    let catalog = merge(&[source("east", 0, services)]);
    let workload = catalog.workload(ip(POD)).unwrap();
    let served: Vec<_> = workload
        .services()
        .into_iter()
        .map(|(host, ports)| (host.to_string(), ports.into_iter().map(Port::get).collect::<Vec<_>>()))
        .collect();
    assert_eq!(served, [("metrics.local".to_owned(), vec![90]), ("web.local".to_owned(), vec![80])]);
    assert_eq!(workload.registries(), BTreeSet::from(["east"]));
    assert_eq!(workload.namespace().unwrap().as_str(), "shop");
    assert_eq!(workload.locality(), place("eu", "a", ""));
    assert_eq!(workload.labels(), [("app".to_owned(), "web".to_owned())].into());
    assert_eq!(workload.identity().unwrap().as_str(), id);
    assert!(catalog.workload(ip("10.9.0.9")).is_none());
}

/// On a node's own network, several workloads have its address.
#[test]
fn what_only_some_say_at_an_address_is_not_guessed() {
    let web = at_pod("web.local", 80).label("app", "web").namespace("shop");
    let agent = at_pod("agent.local", 90).label("app", "agent").namespace("system");
    let (web, agent) = (identified(web, "spiffe://mesh/web"), identified(agent, "spiffe://mesh/agent"));
    let silent = at_pod("silent.local", 70).namespace("shop").build();
    let identity = |services: &[&Arc<Service>]| {
        let catalog = merge(&[source("east", 0, services.iter().map(|service| Arc::clone(service)))]);
        catalog.workload(ip(POD)).unwrap().identity().map(|id| id.as_str().to_owned())
    };
    assert_eq!(identity(&[&web]), Some("spiffe://mesh/web".to_owned()));
    assert_eq!(identity(&[&web, &agent]), None);
    assert_eq!(identity(&[&web, &silent]), None, "who does not say may be another");
    let catalog = merge(&[source("east", 0, [web, agent])]);
    let workload = catalog.workload(ip(POD)).unwrap();
    assert_eq!((workload.namespace(), workload.labels().len(), workload.services().len()), (None, 0, 2));
}

/// Who has names for clients of a namespace, has namespaces. A registry that has none says "default" of all.
#[test]
fn a_namespace_is_said_by_who_has_local_names() {
    let pod = |host: &str, namespace: &str| at_pod(host, 80).namespace(namespace);
    let named = |host: &str, namespace: &str| pod(host, namespace).local_name("web").build();
    let namespace = |sources: &[Source]| {
        let catalog = merge(sources);
        catalog.workload(ip(POD)).unwrap().namespace().map(ToString::to_string)
    };
    let cluster = |services: Vec<Arc<Service>>| source("cluster", 1, services);
    let consul = |host: &str| source("consul", 0, [pod(host, "default").build()]);
    let (shop, lab) = (named("web.shop", "shop"), named("web.lab", "lab"));
    let said = |sources: &[Source]| namespace(sources).unwrap_or_default();
    assert_eq!(said(&[cluster(vec![shop.clone()]), consul("web.consul")]), "shop");
    assert_eq!(said(&[cluster(vec![shop.clone()]), consul("web.shop")]), "shop", "though it leads");
    let elsewhere = [service("web.shop").http(80).endpoint("10.9.0.8", 80).build()];
    assert_eq!(said(&[cluster(vec![shop.clone()]), source("file", 0, elsewhere)]), "shop");
    assert_eq!(said(&[cluster(vec![shop, lab.clone()]), consul("web.consul")]), "");
    assert_eq!(said(&[consul("web.consul")]), "default", "where nobody has such names, all say it");
    assert_eq!(said(&[cluster(vec![pod("a.mesh", "shop").build()]), consul("web.consul")]), "");
    assert_eq!(said(&[cluster(vec![named("a.mesh", "default"), lab]), consul("web.consul")]), "");
}

/// Who is one of so many is not told from them, and clients choose their addresses.
#[test]
fn an_address_of_many_endpoints_is_no_workload() {
    let known =
        |services: Vec<Arc<Service>>| merge(&[source("east", 0, services)]).workload(ip(POD)).is_some();
    let services = |count: u32| (1..=count).map(|n| at_pod(&format!("s{n}.local"), n).build()).collect();
    assert_eq!((known(services(64)), known(services(65))), (true, false));
    let of_one = |count: u32| {
        let all = (1..=count).fold(service("a.local").http(80), |it, n| it.endpoint(POD, 8000 + n));
        vec![all.build()]
    };
    assert_eq!((known(of_one(64)), known(of_one(65))), (true, false));
}

/// IPv4 within IPv6 is IPv4.
#[test]
fn an_address_is_one_however_it_is_written() {
    let mapped = format!("::ffff:{POD}");
    let web = |address: &str| service("web.local").http(80).endpoint(address, 8080).zone("a").region("eu");
    for [known, asked] in [[POD, &mapped], [&mapped, POD], [&mapped, &mapped]] {
        let catalog = merge(&[source("east", 0, [web(known).build()])]);
        assert_eq!(catalog.workload(ip(asked)).unwrap().locality(), place("eu", "a", ""), "{known} {asked}");
        assert!(Catalog::merge(&[], &catalog).workload(ip(asked)).is_none());
    }
    let both = web(POD).endpoint(&mapped, 8081).zone("b").region("eu").build();
    let catalog = merge(&[source("east", 0, [both])]);
    assert_eq!(catalog.workload(ip(POD)).unwrap().locality(), place("eu", "", ""));
}

#[test]
fn a_place_counts_as_far_as_nobody_contradicts() {
    let agreed = |places: &[Locality]| in_places(places).workload(ip(POD)).unwrap().locality();
    let full = place("eu", "a", "r1");
    assert_eq!(agreed(std::slice::from_ref(&full)), full);
    assert_eq!(agreed(&[place("eu", "", ""), place("", "", ""), full.clone()]), full);
    assert_eq!(agreed(&[full.clone(), place("eu", "a", "r2")]), place("eu", "a", ""));
    assert_eq!(agreed(&[full.clone(), place("eu", "b", "r1")]), place("eu", "", ""));
    assert_eq!(agreed(&[full, place("us", "a", "r1")]), Locality::default());
    assert_eq!(agreed(&[place("", "a", ""), place("", "a", "")]), place("", "a", ""));
}

/// One endpoint that two registries know is what the preferred one says, as for those that call it.
#[test]
fn what_a_preferred_registry_knows_too_is_as_that_one_says() {
    let east = at_pod("web.local", 80).label("version", "v2").region("eu").build();
    let west = at_pod("web.local", 80).region("us").build();
    let preferred = |sources: [Source; 2]| merge(&sources).workload(ip(POD)).unwrap().locality().region;
    let (e, w) = ([Arc::clone(&east)], [Arc::clone(&west)]);
    assert_eq!(preferred([source("east", 0, e.clone()), source("west", 1, w.clone())]), "eu");
    assert_eq!(preferred([source("east", 1, e), source("west", 0, w)]), "us");
}

#[test]
fn loopback_is_nobodys_in_particular() {
    let local = service("a.local").http(80).endpoint("127.0.0.2", 80).endpoint("::1", 80);
    let catalog = merge(&[source("east", 0, [local.build()])]);
    assert!(["127.0.0.2", "::1"].iter().all(|address| catalog.workload(ip(address)).is_none()));
}

/// Few hosts, addresses and ports, so that services share them, and so come and go where others stay.
fn drawn(host: &'static str) -> impl Strategy<Value = Arc<Service>> {
    let address = prop::sample::select(vec![
        "10.0.0.1",
        "10.0.0.2",
        "fd00::1",
        "127.0.0.1",
        "unix:/run/a",
        "::ffff:10.0.0.1",
    ]);
    let port = |ports: std::ops::Range<u32>| ports.prop_map(|number| Port::try_from(number).unwrap());
    let label = prop::sample::select(vec!["", "v1", "v2"]);
    vec((address, btree_map(port(80..82), port(1..3), 1..3), label), 0..4).prop_map(move |endpoints| {
        let mut spec = ServiceSpec::new(host.parse().unwrap());
        spec.ports = [80, 81]
            .map(|number| ServicePort {
                number: Port::try_from(number).unwrap(),
                name: format!("http-{number}"),
                protocol: Protocol::Http,
            })
            .to_vec();
        spec.endpoints = endpoints
            .into_iter()
            .map(|(address, ports, label)| Endpoint {
                ports,
                labels: [("version".to_owned(), label.to_owned())].into(),
                ..Endpoint::new(address.parse().unwrap())
            })
            .collect();
        Arc::new(Service::new(spec).unwrap())
    })
}

fn some_services() -> impl Strategy<Value = Vec<Arc<Service>>> {
    let some = |host| prop::option::of(drawn(host));
    (some("a.local"), some("b.local"), some("c.local"))
        .prop_map(|(a, b, c)| [a, b, c].into_iter().flatten().collect())
}

/// The services that have an endpoint there, found by looking at all.
fn serving(catalog: &Catalog, address: IpAddr) -> Vec<String> {
    let has = |service: &Arc<CatalogService>| {
        let at =
            |endpoint: &Endpoint| matches!(endpoint.address, Address::Ip(it) if it.to_canonical() == address);
        service.endpoints().any(|(_, endpoint)| at(endpoint))
    };
    catalog.services().iter().filter(|service| has(service)).map(|it| it.host().to_string()).collect()
}

proptest! {
    /// However services come, change, move between registries and go.
    #[test]
    fn addresses_are_found_as_if_all_services_were_looked_at(
        steps in vec([some_services(), some_services()], 1..8),
    ) {
        let mut catalog = Catalog::default();
        for [one, other] in steps {
            let sources = [source("one", 0, one), source("other", 1, other)];
            catalog = Catalog::merge(&sources, &catalog);
            prop_assert_eq!(&catalog, &merge(&sources));
            for address in ["10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.3"].map(ip) {
                let found = catalog.workload(address).map(|workload| workload.services());
                let found: Vec<_> = found.into_iter().flatten().map(|(host, _)| host.to_string()).collect();
                prop_assert_eq!(found, serving(&catalog, address));
            }
            prop_assert!(catalog.workload(ip("127.0.0.1")).is_none());
        }
    }
}
