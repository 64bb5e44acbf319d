//! Worlds that chance draws: few names, ports, addresses and places, so that services collide.

use std::collections::{BTreeMap, BTreeSet};

use pilot::mesh::Mesh;
use pilot_registry::{Locality, Namespace, Resolution, ServiceSpec, Visibility};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::world::{empty, mesh_after, resolved, source, spec};

/// Few places, so that endpoints share them, and a proxy can be near.
pub(crate) fn locality() -> impl Strategy<Value = Locality> {
    let part = |words: &[&'static str]| prop::sample::select(words.to_vec());
    (part(&["", "eu", "us"]), part(&["", "a", "b"]), part(&["", "r1"])).prop_map(
        |(region, zone, sub_zone)| Locality {
            region: region.into(),
            zone: zone.into(),
            sub_zone: sub_zone.into(),
        },
    )
}

pub(crate) fn namespace() -> impl Strategy<Value = Namespace> {
    prop::sample::select(vec!["default", "shop"]).prop_map(|name| name.to_owned().try_into().unwrap())
}

/// Few names, ports and addresses, so that services collide.
pub(crate) fn service(host: String) -> impl Strategy<Value = ServiceSpec> {
    let protocol = prop::sample::select(vec!["http", "grpc", "http2", "tcp", "tls", "udp"]);
    let ports = btree_map(prop::sample::select(vec!["80", "81", "15080"]), protocol, 1..3);
    let aliases = vec(prop::sample::select(vec!["a", "b", "x", "http_listen"]), 0..3);
    let local_names = vec(prop::sample::select(vec!["a", "x", "web", "http_listen"]), 0..3);
    let addresses = vec(prop::sample::select(vec!["10.0.0.1", "127.0.0.1", "::1"]), 0..3);
    let endpoints = vec(
        prop::sample::select(vec![
            "10.1.0.1:1",
            "10.1.0.2:2",
            "::1:3",
            "127.0.0.1:80",
            "10.0.0.1:81",
            "127.0.0.1:15080",
        ]),
        0..4,
    );
    let localities = vec(locality(), 4);
    let resolution = prop::sample::select(vec![
        Resolution::Endpoints,
        Resolution::Endpoints,
        Resolution::Dns,
        Resolution::Passthrough,
    ]);
    let seen_by = prop::sample::select(vec!["*", "*", "*", ".", "~", "shop", "default", "default,shop"]);
    let names = (aliases, local_names, namespace(), seen_by, any::<bool>());
    (ports, names, addresses, endpoints, localities, resolution).prop_map(
        move |(
            ports,
            (aliases, local_names, namespace, seen_by, is_guess),
            addresses,
            endpoints,
            localities,
            resolution,
        )| {
            let ports: Vec<String> =
                ports.iter().map(|(port, protocol)| format!("{port}/{protocol}")).collect();
            let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
            let endpoints = if resolution == Resolution::Passthrough { Vec::new() } else { endpoints };
            let mut spec = resolved(spec(&host, &ports, &endpoints), resolution);
            for (i, (endpoint, locality)) in spec.endpoints.iter_mut().zip(localities).enumerate() {
                endpoint.locality = locality;
                let version = (i % 3 > 0).then(|| ("version".to_owned(), format!("v{}", i % 3)));
                endpoint.labels = version.into_iter().collect();
            }
            spec.aliases = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
            spec.local_names = local_names.iter().map(|name| name.parse().unwrap()).collect();
            spec.visibility = Visibility::of_words(seen_by.split(','), &namespace).unwrap();
            spec.namespace = namespace;
            if is_guess {
                spec.guessed_protocols = spec.ports.iter().map(|port| port.number).collect();
            }
            spec.virtual_addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            spec
        },
    )
}

pub(crate) fn services() -> impl Strategy<Value = Vec<ServiceSpec>> {
    let some = |host: &str| prop::option::of(service(host.to_owned()));
    (some("a"), some("a"), some("b"), some("b"), some("c"), some("127.0.0.1_80")).prop_map(
        |(a, another_a, b, another_b, c, d)| {
            unique([a, another_a, b, another_b, c, d].into_iter().flatten().collect())
        },
    )
}

/// One of each host and owner.
fn unique(mut specs: Vec<ServiceSpec>) -> Vec<ServiceSpec> {
    let mut seen = BTreeSet::new();
    let owner = |spec: &ServiceSpec| (!spec.visibility.is_everybody()).then(|| spec.namespace.clone());
    specs.retain(|spec| seen.insert((spec.host.clone(), owner(spec))));
    specs
}

/// The world of which everybody sees everything.
pub(crate) fn in_public(world: Drawn) -> Drawn {
    world.map(|(priority, specs)| {
        let public = |spec| ServiceSpec { visibility: Visibility::Everybody, ..spec };
        (priority, unique(specs.into_iter().map(public).collect()))
    })
}

/// The services that clients of a namespace see, as if everybody saw them. By the words of the documentation: of one
/// host, that of their own namespace, then one that names their namespace, then the one that everybody sees.
pub(crate) fn seen_in(world: &Drawn, namespace: Option<&Namespace>) -> Drawn {
    let mut of_host: BTreeMap<String, (u8, u32, Option<Namespace>)> = BTreeMap::new();
    let rank = |spec: &ServiceSpec, priority: u32| match &spec.visibility {
        Visibility::Everybody => Some((2, 0, None)),
        Visibility::Only(names) if namespace.is_some_and(|it| names.contains(it)) => {
            let is_own = namespace == Some(&spec.namespace);
            Some((u8::from(!is_own), priority, Some(spec.namespace.clone())))
        }
        Visibility::Only(_) => None,
    };
    // Which registry's word counts about who sees a service is another rule: the preferred one's.
    let word = |spec: &ServiceSpec| {
        let mut all: Vec<_> = world
            .iter()
            .enumerate()
            .flat_map(|(at, (priority, specs))| specs.iter().map(move |spec| ((*priority, at), spec)))
            .filter(|(_, other)| {
                other.host == spec.host
                    && other.visibility.is_everybody() == spec.visibility.is_everybody()
                    && (spec.visibility.is_everybody() || other.namespace == spec.namespace)
            })
            .collect();
        all.sort_by_key(|(at, _)| *at);
        let ((priority, _), lead) = all[0];
        (lead.visibility.clone(), priority)
    };
    let with_word = |spec: &ServiceSpec| {
        let (visibility, priority) = word(spec);
        (ServiceSpec { visibility, ..spec.clone() }, priority)
    };
    for (spec, priority) in world.iter().flat_map(|(_, specs)| specs).map(with_word) {
        let Some(rank) = rank(&spec, priority) else { continue };
        let first = of_host.entry(spec.host.to_string()).or_insert_with(|| rank.clone());
        *first = first.clone().min(rank);
    }
    world.each_ref().map(|(priority, specs)| {
        let seen = specs.iter().filter(|spec| {
            let (spec, lead) = with_word(spec);
            rank(&spec, lead).is_some_and(|rank| of_host.get(spec.host.as_str()) == Some(&rank))
        });
        let public = |spec: &ServiceSpec| ServiceSpec { visibility: Visibility::Everybody, ..spec.clone() };
        (*priority, seen.map(public).collect())
    })
}

/// No endpoint listens where a proxy would.
pub(crate) fn out_of_the_way(world: Drawn) -> Drawn {
    world.map(|(priority, mut specs)| {
        for endpoint in specs.iter_mut().flat_map(|spec| &mut spec.endpoints) {
            if !endpoint.address.to_string().starts_with("10.1.") {
                endpoint.address = "10.1.0.3".parse().unwrap();
            }
        }
        (priority, specs)
    })
}

/// Two registries with priorities.
pub(crate) type Drawn = [(u32, Vec<ServiceSpec>); 2];

pub(crate) fn world() -> impl Strategy<Value = Drawn> {
    [(0..2u32, services()), (0..2u32, services())]
}

pub(crate) fn after(previous: &Mesh, [one, two]: &Drawn) -> Mesh {
    mesh_after(previous, &[source("one", one.0, one.1.clone()), source("two", two.0, two.1.clone())])
}

/// A mesh of nothing, in which places matter.
pub(crate) fn nothing() -> Mesh {
    let mut mesh = empty();
    mesh.options.prefer_near = true;
    mesh
}
