//! Services and snapshots drawn at random, for property tests. Whatever is drawn makes sense.
//!
//! Hosts come from a small pool, so that what is drawn twice collides: changes and removals happen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use pilot_registry::{
    Address, Endpoint, Health, Hostname, Labels, Locality, Namespace, Port, Protocol, Resolution, Service,
    ServicePort, ServiceSpec, Snapshot, SpiffeId, Weight,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// How many hosts [`host`] draws from.
pub const HOSTS: usize = 6;

/// One of a few hosts.
pub fn host() -> impl Strategy<Value = Hostname> {
    (0..HOSTS).prop_map(|n| format!("s{n}.local").parse().expect("it is a host name"))
}

/// A protocol.
pub fn protocol() -> impl Strategy<Value = Protocol> {
    select(&Protocol::ALL[..])
}

/// An address that is an IP address.
pub fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        3 => (1..5u8).prop_map(|n| Ipv4Addr::new(10, 0, 0, n).into()),
        1 => (1..5u16).prop_map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into()),
    ]
}

/// Labels, at most two.
pub fn labels() -> impl Strategy<Value = Labels> {
    let key = select(vec!["app".to_owned(), "version".to_owned()]);
    let value = select(vec!["v1".to_owned(), "v2".to_owned(), String::new()]);
    btree_map(key, value, 0..=2)
}

/// A service of one of a few hosts.
pub fn service() -> impl Strategy<Value = Arc<Service>> {
    host().prop_flat_map(service_of)
}

/// A service of that host.
pub fn service_of(host: Hostname) -> impl Strategy<Value = Arc<Service>> {
    spec_of(host).prop_map(|spec| Arc::new(Service::new(spec).expect("what is drawn makes sense")))
}

/// The same service twice, its parts in different orders and some of them repeated.
pub fn shuffled_specs() -> impl Strategy<Value = (ServiceSpec, ServiceSpec)> {
    let again = |spec: ServiceSpec| (Just(spec.clone()), shuffled(spec));
    host().prop_flat_map(spec_of).prop_flat_map(again)
}

/// A snapshot of some of a few hosts.
pub fn snapshot() -> impl Strategy<Value = Snapshot> {
    services().prop_map(crate::snapshot)
}

/// The same snapshot twice, built from its services in different orders.
pub fn shuffled_snapshots() -> impl Strategy<Value = (Snapshot, Snapshot)> {
    let again = |services: Vec<Arc<Service>>| (Just(services.clone()), Just(services).prop_shuffle());
    let built = |(one, other): (Vec<_>, Vec<_>)| (crate::snapshot(one), crate::snapshot(other));
    services().prop_flat_map(again).prop_map(built)
}

fn services() -> impl Strategy<Value = Vec<Arc<Service>>> {
    let all = |hosts: std::collections::BTreeSet<Hostname>| {
        hosts.into_iter().map(|host| service_of(host).boxed()).collect::<Vec<_>>()
    };
    btree_set(host(), 0..=HOSTS).prop_flat_map(all)
}

fn spec_of(host: Hostname) -> impl Strategy<Value = ServiceSpec> {
    let resolution = prop_oneof![
        6 => Just(Resolution::Endpoints),
        1 => Just(Resolution::Dns),
        1 => Just(Resolution::Passthrough),
    ];
    (ports(), resolution).prop_flat_map(move |(ports, resolution)| {
        let numbers: Vec<Port> = ports.iter().map(|port| port.number).collect();
        let count = if resolution == Resolution::Passthrough { 0..=0 } else { 0..=4 };
        let endpoints = vec(endpoint(resolution, numbers), count);
        spec_with(ServiceSpec { ports, resolution, ..ServiceSpec::new(host.clone()) }, endpoints)
    })
}

fn spec_with(
    spec: ServiceSpec,
    endpoints: impl Strategy<Value = Vec<Endpoint>>,
) -> impl Strategy<Value = ServiceSpec> {
    // Aliases are no host of the pool, so that two services never claim one name.
    let alias =
        (0..3u8).prop_map(move |n| -> Hostname { format!("alias{n}.local").parse().expect("a name") });
    let namespace = select(vec!["default", "shop"]).prop_map(|name| Namespace::try_from(name.to_owned()));
    let parts = (vec(alias, 0..=2), vec(ip(), 0..=2), namespace, labels(), vec(identity(), 0..=2), endpoints);
    parts.prop_map(move |(aliases, virtual_addresses, namespace, labels, identities, endpoints)| {
        ServiceSpec {
            aliases,
            virtual_addresses,
            namespace: namespace.expect("it is a namespace"),
            labels,
            identities,
            endpoints,
            ..spec.clone()
        }
    })
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let port = |number: u32| {
        let named = move |protocol: Protocol| ServicePort {
            number: port(number),
            name: format!("{protocol}-{number}"),
            protocol,
        };
        protocol().prop_map(named)
    };
    let some = subsequence(vec![80, 443, 9080], 1..=3);
    some.prop_flat_map(move |numbers| numbers.into_iter().map(port).collect::<Vec<_>>())
}

fn endpoint(resolution: Resolution, service: Vec<Port>) -> impl Strategy<Value = Endpoint> {
    let count = service.len();
    let served = subsequence(service, 1..=count);
    let facts = (address(resolution), served, 8080..8083u32, labels(), 1..=3u32, health(), locality());
    (facts, option::of(identity())).prop_map(
        |((address, served, own, labels, weight, health, locality), identity)| Endpoint {
            ports: served.into_iter().map(|number| (number, port(own))).collect(),
            labels,
            weight: Weight::try_from(weight).expect("it is in range"),
            health,
            locality,
            identity,
            ..Endpoint::new(address)
        },
    )
}

fn address(resolution: Resolution) -> BoxedStrategy<Address> {
    let name = |n: u8| Address::Dns(format!("db{n}.example.com").parse().expect("it is a host name"));
    let socket = |n: u8| Address::Unix(format!("/run/app{n}.sock"));
    match resolution {
        Resolution::Dns => prop_oneof![ip().prop_map(Address::Ip), (0..3u8).prop_map(name)].boxed(),
        _ => prop_oneof![6 => ip().prop_map(Address::Ip), 1 => (0..3u8).prop_map(socket)].boxed(),
    }
}

fn health() -> impl Strategy<Value = Health> {
    select(vec![Health::Healthy, Health::Warning, Health::Unhealthy, Health::Draining, Health::Unknown])
}

fn locality() -> impl Strategy<Value = Locality> {
    // A zone lies in a region, and a sub-zone in a zone.
    (0..=3usize, 0..2u8).prop_map(|(depth, n)| Locality {
        region: if depth > 0 { format!("region{n}") } else { String::new() },
        zone: if depth > 1 { format!("zone{n}") } else { String::new() },
        sub_zone: if depth > 2 { format!("rack{n}") } else { String::new() },
    })
}

fn identity() -> impl Strategy<Value = SpiffeId> {
    (0..3u8).prop_map(|n| format!("spiffe://mesh.local/app{n}").parse().expect("it is a SPIFFE id"))
}

fn shuffled(spec: ServiceSpec) -> impl Strategy<Value = ServiceSpec> {
    let ServiceSpec { aliases, ports, virtual_addresses, identities, endpoints, .. } = spec.clone();
    let parts = (
        repeating(aliases),
        Just(ports).prop_shuffle(),
        repeating(virtual_addresses),
        repeating(identities),
        repeating(endpoints),
    );
    parts.prop_map(move |(aliases, ports, virtual_addresses, identities, endpoints)| ServiceSpec {
        aliases,
        ports,
        virtual_addresses,
        identities,
        endpoints,
        ..spec.clone()
    })
}

fn repeating<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let repeat = |(mut values, again): (Vec<T>, Option<Index>)| {
        if let Some(again) = again.filter(|_| !values.is_empty()) {
            values.push(again.get(&values).clone());
        }
        values
    };
    (Just(values), option::of(any::<Index>())).prop_map(repeat).prop_shuffle()
}

fn port(number: u32) -> Port {
    Port::try_from(number).expect("it is a port")
}
