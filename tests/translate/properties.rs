//! Any world: order does not matter, memory does not matter, nothing dangles.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{Role, Scope};
use pilot::resources::{Resource, ResourceType, dangling};
use pilot::translate::{Translation, Translator, translate};
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Resolution, ServiceSpec};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;

use crate::world::{empty, mesh_after, resolved, router, source, spec};

/// Few names, ports and addresses, so that services collide.
fn service(host: String) -> impl Strategy<Value = ServiceSpec> {
    let protocol = prop::sample::select(vec!["http", "grpc", "http2", "tcp", "tls", "udp"]);
    let ports = btree_map(prop::sample::select(vec!["80", "81", "15080"]), protocol, 1..3);
    let aliases = vec(prop::sample::select(vec!["a", "b", "x", "http_listen"]), 0..3);
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
    let resolution = prop::sample::select(vec![
        Resolution::Endpoints,
        Resolution::Endpoints,
        Resolution::Dns,
        Resolution::Passthrough,
    ]);
    (ports, aliases, addresses, endpoints, resolution).prop_map(
        move |(ports, aliases, addresses, endpoints, resolution)| {
            let ports: Vec<String> =
                ports.iter().map(|(port, protocol)| format!("{port}/{protocol}")).collect();
            let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
            let endpoints = if resolution == Resolution::Passthrough { Vec::new() } else { endpoints };
            let mut spec = resolved(spec(&host, &ports, &endpoints), resolution);
            spec.aliases = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
            spec.virtual_addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            spec
        },
    )
}

fn services() -> impl Strategy<Value = Vec<ServiceSpec>> {
    let some = |host: &str| prop::option::of(service(host.to_owned()));
    (some("a"), some("b"), some("c"), some("127.0.0.1_80"))
        .prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect())
}

/// Two registries with priorities.
type Drawn = [(u32, Vec<ServiceSpec>); 2];

fn world() -> impl Strategy<Value = Drawn> {
    [(0..2u32, services()), (0..2u32, services())]
}

fn after(previous: &Mesh, [one, two]: &Drawn) -> Mesh {
    mesh_after(previous, &[source("one", one.0, one.1.clone()), source("two", two.0, two.1.clone())])
}

fn same(a: &Translation, b: &Translation) -> bool {
    a.types == b.types && a.conflicts == b.conflicts
}

/// Envoy refuses routes in which a domain or a virtual host's name is there twice.
fn twice(translation: &Translation) -> Vec<String> {
    let mut found = Vec::new();
    for resource in translation.types[ResourceType::Route as usize].resources() {
        let any = Any::decode(resource.any_bytes().clone()).unwrap();
        let routes = RouteConfiguration::decode(any.value).unwrap();
        let mut seen = BTreeSet::new();
        for host in &routes.virtual_hosts {
            let domains = host.domains.iter().map(|domain| format!("domain {domain}"));
            let all = domains.chain([format!("virtual host {}", host.name)]);
            found.extend(all.filter(|name| !seen.insert(name.clone())));
        }
    }
    found
}

/// The priorities of each load assignment: Envoy and gRPC want 0, 1, 2 … without gaps.
fn priorities(translation: &Translation) -> Vec<Vec<u32>> {
    let assignments = translation.types[ResourceType::Endpoint as usize].resources().iter();
    let of_one = |resource: &Arc<Resource>| {
        let any = Any::decode(resource.any_bytes().clone()).unwrap();
        let assignment = ClusterLoadAssignment::decode(any.value).unwrap();
        let found: BTreeSet<u32> = assignment.endpoints.iter().map(|locality| locality.priority).collect();
        found.into_iter().collect()
    };
    assignments.map(of_one).collect()
}

proptest! {
    #[test]
    fn priorities_have_no_gaps(
        one in services(),
        two in services(),
        three in services(),
        at in [0..9u32, 0..9u32, 0..9u32],
    ) {
        let sources = [source("a", at[0], one), source("b", at[1], two), source("c", at[2], three)];
        for found in priorities(&translate(&mesh_after(&empty(), &sources), &router())) {
            prop_assert_eq!(&found, &(0..).take(found.len()).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn the_same_world_in_any_order_gives_the_same_bytes(world in world()) {
        let backwards = |registry: &str, (priority, services): &(u32, Vec<ServiceSpec>)| {
            let mut services = services.clone();
            services.reverse();
            services.iter_mut().for_each(|service| {
                service.ports.reverse();
                service.endpoints.reverse();
                service.aliases.reverse();
                service.virtual_addresses.reverse();
            });
            source(registry, *priority, services)
        };
        let forwards = after(&empty(), &world);
        let backwards = mesh_after(&empty(), &[backwards("two", &world[1]), backwards("one", &world[0])]);
        prop_assert!(same(&translate(&forwards, &router()), &translate(&backwards, &router())));
    }

    #[test]
    fn nothing_dangles_and_no_domain_is_there_twice(world in world(), sidecar: bool) {
        let role = if sidecar { Role::Sidecar } else { Role::Router };
        let translation = translate(&after(&empty(), &world), &Scope { role, ..router() });
        prop_assert_eq!(dangling(&translation.types), vec![]);
        prop_assert_eq!(twice(&translation), Vec::<String>::new());
    }

    #[test]
    fn a_translator_that_remembers_gives_what_one_from_scratch_gives(worlds in vec(world(), 1..6)) {
        let mut translator = Translator::new(router());
        let mut last_mesh = empty();
        let mut last = translator.translate(&last_mesh);
        for world in worlds {
            let mesh = after(&last_mesh, &world);
            let translation = translator.translate(&mesh);
            prop_assert!(same(&translation, &translate(&mesh, &router())));
            for (old, new) in last.types.iter().zip(&translation.types) {
                for resource in new.resources() {
                    let old = old.get(resource.name()).filter(|old| *old == resource);
                    let kept = old.is_none_or(|old| Arc::ptr_eq(old, resource));
                    prop_assert!(kept, "{resource:?} was encoded again");
                }
            }
            (last_mesh, last) = (mesh, translation);
        }
    }
}
