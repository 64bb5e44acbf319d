//! Any world: order does not matter, memory does not matter, nothing dangles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{ClientKind, Role, Scope};
use pilot::resources::{Resource, ResourceType, Rope, any_to_json, dangling};
use pilot::translate::Translation;
use pilot_envoy_api::envoy::config::cluster::v3::Cluster;
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::ServiceSpec;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use crate::drawn::{
    after, in_public, locality, namespace, nothing, out_of_the_way, seen_in, services, world,
};
use crate::world::{Translator, mesh_after, router, same, shares, source, translate};

/// Envoy refuses routes in which a domain or a virtual host's name is there twice.
pub(crate) fn twice(translation: &Translation) -> Vec<String> {
    let mut found = Vec::new();
    for resource in translation.view.of(ResourceType::Route).iter() {
        let any = Any::decode(resource.any_bytes()).unwrap();
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

/// What routes there are from which domain.
fn virtual_hosts(translation: &Translation) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for resource in translation.view.of(ResourceType::Route).iter() {
        let any = Any::decode(resource.any_bytes()).unwrap();
        let routes = RouteConfiguration::decode(any.value).unwrap();
        found.extend(routes.virtual_hosts.iter().map(|host| format!("{} {host:?}", routes.name)));
    }
    found
}

fn rope(routes: &Arc<Resource>) -> (String, &Rope) {
    (routes.name().to_string(), routes.rope().unwrap())
}

/// All listeners, where those of routes whose name ends so name them without that.
fn listeners(translation: &Translation, suffix: &str) -> BTreeMap<String, String> {
    let text = |listener: &Arc<Resource>| {
        let any = Any::decode(listener.any_bytes()).unwrap();
        let json = any_to_json(&any).unwrap().to_string();
        let routes = listener.references().filter(|(kind, _)| *kind == ResourceType::Route);
        let named = |name: &str| format!("\"route_config_name\":\"{name}\"");
        routes.fold(json, |json, (_, name)| {
            let whole = name.strip_suffix(suffix).unwrap_or_else(|| panic!("{name} is not in parts"));
            assert!(json.contains(&named(name)), "{json}");
            json.replace(&named(name), &named(whole))
        })
    };
    let listeners = translation.view.of(ResourceType::Listener).iter();
    listeners.map(|listener| (listener.name().to_string(), text(listener))).collect()
}

/// The addresses of all endpoints that clusters are told of by name or inline, with their clusters.
fn addresses(translation: &Translation) -> BTreeSet<String> {
    let decoded = |kind: ResourceType| {
        let resources = translation.view.of(kind).iter();
        resources.map(|resource| Any::decode(resource.any_bytes()).unwrap().value)
    };
    let named = decoded(ResourceType::Endpoint).map(|value| ClusterLoadAssignment::decode(value).unwrap());
    let inline =
        decoded(ResourceType::Cluster).filter_map(|value| Cluster::decode(value).unwrap().load_assignment);
    let assignments = named.chain(inline);
    assignments
        .flat_map(|assignment| {
            let name = assignment.cluster_name;
            let endpoints = assignment.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints);
            endpoints.map(move |endpoint| format!("{name} {:?}", endpoint.host_identifier))
        })
        .collect()
}

/// The priorities of each load assignment: Envoy and gRPC want 0, 1, 2 … without gaps.
fn priorities(translation: &Translation) -> Vec<Vec<u32>> {
    let assignments = translation.view.of(ResourceType::Endpoint).iter();
    let of_one = |resource: &Arc<Resource>| {
        let any = Any::decode(resource.any_bytes()).unwrap();
        let assignment = ClusterLoadAssignment::decode(any.value).unwrap();
        let found: BTreeSet<u32> = assignment.endpoints.iter().map(|locality| locality.priority).collect();
        found.into_iter().collect()
    };
    assignments.map(of_one).collect()
}

/// What is of everybody before and of a namespace then, or the other way round, is made anew.
fn moved(resource: &Resource, kind: ResourceType, [before, now]: [&Translation; 2]) -> bool {
    let is_common = |common: &Translation| common.view.of(kind).get(resource.name()).is_some();
    is_common(before) != is_common(now)
}

/// A service that becomes another's is made anew, however alike both are.
fn has_owners(mesh: &Mesh) -> bool {
    mesh.catalog.services().iter().any(|service| service.id().owner.is_some())
}

fn client() -> impl Strategy<Value = ClientKind> {
    prop_oneof![Just(ClientKind::EnvoyWithVhds), Just(ClientKind::Envoy)]
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
        for found in priorities(&translate(&mesh_after(&nothing(), &sources), &router())) {
            prop_assert_eq!(&found, &(0..).take(found.len()).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn nearness_leaves_no_gap_loses_no_endpoint_and_touches_nothing_else(
        world in world(),
        locality in locality(),
    ) {
        let mesh = after(&nothing(), &world);
        let common = translate(&mesh, &router());
        let near = translate(&mesh, &Scope { locality, ..router() });
        for found in priorities(&near) {
            prop_assert_eq!(&found, &(0..).take(found.len()).collect::<Vec<u32>>());
        }
        prop_assert_eq!(addresses(&near), addresses(&common));
        for kind in [ResourceType::Listener, ResourceType::Route] {
            prop_assert!(shares(&near, &common, kind) || near.view.of(kind).version() == common.view.of(kind).version());
        }
        prop_assert_eq!(dangling(&near.view), vec![]);
        prop_assert_eq!(near.conflicts, common.conflicts);
    }

    /// A proxy in a place of which no endpoint is shares what those in the next larger place are told.
    #[test]
    fn of_a_locality_only_what_endpoints_share_matters(world in world(), locality in locality()) {
        let mesh = after(&nothing(), &world);
        let known = mesh.catalog.known_part(&locality);
        let at = |locality| translate(&mesh, &Scope { locality, ..router() });
        prop_assert!(same(&at(known), &at(locality)));
    }

    /// Names of a namespace come to the others, and all of these stay what they are.
    #[test]
    fn a_namespace_adds_names_and_touches_nothing_else(world in world(), namespace in namespace()) {
        let mesh = after(&nothing(), &in_public(world));
        let common = translate(&mesh, &router());
        let local = translate(&mesh, &Scope { namespace: Some(namespace.clone()), ..router() });
        for kind in [ResourceType::Cluster, ResourceType::Endpoint] {
            prop_assert!(shares(&local, &common, kind) || local.view.of(kind).version() == common.view.of(kind).version());
        }
        let listeners = |translation: &Translation| -> BTreeSet<String> {
            let listeners = translation.view.of(ResourceType::Listener).iter();
            listeners.map(|listener| format!("{} {}", listener.name(), listener.version())).collect()
        };
        prop_assert!(listeners(&local).is_superset(&listeners(&common)));
        prop_assert!(virtual_hosts(&local).is_superset(&virtual_hosts(&common)));
        prop_assert_eq!(&local.conflicts, &common.conflicts);
        if !mesh.catalog.differs_in(&namespace) {
            prop_assert!(same(&local, &common));
        }
    }

    /// What others see makes no difference, but that endpoints of theirs may listen where a proxy would.
    #[test]
    fn a_namespace_is_told_of_the_services_that_it_sees(
        world in world().prop_map(out_of_the_way),
        locality in locality(),
        namespace in prop::option::of(namespace()),
        sidecar: bool,
    ) {
        let role = if sidecar { Role::Sidecar } else { Role::Router };
        let scope = Scope { role, locality, namespace: namespace.clone(), ..router() };
        let seen = translate(&after(&nothing(), &seen_in(&world, namespace.as_ref())), &scope);
        let told = translate(&after(&nothing(), &world), &scope);
        for kind in ResourceType::ALL {
            let names = |it: &Translation| -> Vec<String> {
                it.view.of(kind).iter().map(|resource| format!("{} {}", resource.name(), resource.version())).collect()
            };
            prop_assert_eq!(names(&told), names(&seen), "{}", kind);
            prop_assert_eq!(told.view.of(kind).version(), seen.view.of(kind).version());
        }
    }

    #[test]
    fn layers_that_are_shared_give_what_those_from_scratch_give(
        worlds in vec(world(), 1..6),
        locality in locality(),
        namespace in prop::option::of(namespace()),
        client in client(),
    ) {
        let scope = Scope { client, locality, namespace, ..router() };
        let common = Scope { client, ..router() };
        let mut both = Translator::of([common.clone(), scope.clone()]);
        let [mut last_shared, mut last] = both.all(&nothing());
        let mut last_mesh = nothing();
        for world in worlds {
            let mesh = after(&last_mesh, &world);
            let [shared, translation] = both.all(&mesh);
            prop_assert!(same(&translation, &translate(&mesh, &scope)));
            prop_assert!(same(&shared, &translate(&mesh, &common)));
            prop_assert_eq!(dangling(&translation.view), vec![]);
            for kind in ResourceType::ALL {
                for resource in translation.view.of(kind).iter() {
                    let equal: Vec<_> = [&last, &shared]
                        .into_iter()
                        .filter_map(|it| it.view.of(kind).get(resource.name()).filter(|other| *other == resource))
                        .collect();
                    let kept = equal.is_empty() || equal.iter().any(|other| Arc::ptr_eq(other, resource));
                    let moved = moved(resource, kind, [&last_shared, &shared]) || has_owners(&last_mesh) || has_owners(&mesh);
                    prop_assert!(kept || moved, "{resource:?} was encoded again");
                }
            }
            let changes = translation.view.changes_since(&last.view);
            for kind in ResourceType::ALL {
                let changed: BTreeSet<_> = changes.of(kind).iter().map(|change| change.name.to_string()).collect();
                let versions = |translation: &Translation| -> BTreeSet<(String, String)> {
                    let read = |it: &Arc<Resource>| (it.name().to_string(), it.version().to_owned());
                    translation.view.of(kind).iter().map(read).collect()
                };
                let (before, now) = (versions(&last), versions(&translation));
                let differing: BTreeSet<_> = before.symmetric_difference(&now).map(|(name, _)| name.clone()).collect();
                prop_assert_eq!(changed, differing);
            }
            (last, last_shared, last_mesh) = (translation, shared, mesh);
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
                service.local_names.reverse();
                service.virtual_addresses.reverse();
            });
            source(registry, *priority, services)
        };
        let forwards = after(&nothing(), &world);
        let backwards = mesh_after(&nothing(), &[backwards("two", &world[1]), backwards("one", &world[0])]);
        prop_assert!(same(&translate(&forwards, &router()), &translate(&backwards, &router())));
    }

    /// Who takes routes in parts has the same ones, under other names; in whatever layers.
    #[test]
    fn routes_in_parts_are_the_whole_routes(
        worlds in vec(world(), 1..4),
        sidecar: bool,
        locality in locality(),
        namespace in prop::option::of(namespace()),
    ) {
        let role = if sidecar { Role::Sidecar } else { Role::Router };
        let whole = Scope { role, locality, namespace, client: ClientKind::Envoy, ..router() };
        let parts = Scope { client: ClientKind::EnvoyWithVhds, ..whole.clone() };
        let mut both = Translator::of([whole, parts]);
        let mut last = nothing();
        for world in worlds {
            let mesh = after(&last, &world);
            let [whole, parts] = both.all(&mesh);
            for kind in [ResourceType::Cluster, ResourceType::Endpoint] {
                prop_assert_eq!(parts.view.of(kind).version(), whole.view.of(kind).version());
            }
            let routes: BTreeMap<String, &Rope> = whole.view.of(ResourceType::Route).iter().map(rope).collect();
            let hosts = parts.view.of(ResourceType::VirtualHost).iter();
            let in_parts: BTreeMap<String, &Rope> = hosts.map(rope).collect();
            prop_assert!(in_parts.keys().cloned().eq(routes.keys().map(|name| format!("{name}~v"))), "{in_parts:?}");
            for (name, routes) in routes {
                let hosts = in_parts[&format!("{name}~v")];
                prop_assert_eq!(hosts.changes_since(routes), vec![]);
                let mut pairs = hosts.shared_hosts().zip(routes.shared_hosts());
                prop_assert!(pairs.all(|(one, other)| Arc::ptr_eq(one, other)), "encoded twice");
            }
            prop_assert_eq!(listeners(&parts, "~v"), listeners(&whole, ""));
            last = mesh;
        }
    }

    #[test]
    fn nothing_dangles_and_no_domain_is_there_twice(
        world in world(),
        sidecar: bool,
        namespace in prop::option::of(namespace()),
        client in client(),
    ) {
        let role = if sidecar { Role::Sidecar } else { Role::Router };
        let translation = translate(&after(&nothing(), &world), &Scope { role, client, namespace, ..router() });
        prop_assert_eq!(dangling(&translation.view), vec![]);
        prop_assert_eq!(twice(&translation), Vec::<String>::new());
    }

    #[test]
    fn layers_that_follow_give_what_those_from_scratch_give(
        worlds in vec(world(), 1..6),
        namespace in prop::option::of(namespace()),
        client in client(),
    ) {
        let scope = Scope { client, namespace, ..router() };
        let mut translator = Translator::new(scope.clone());
        let mut last_mesh = nothing();
        let mut last = translator.translate(&last_mesh);
        for world in worlds {
            let mesh = after(&last_mesh, &world);
            let translation = translator.translate(&mesh);
            prop_assert!(same(&translation, &translate(&mesh, &scope)));
            prop_assert_eq!(&mesh.catalog, &after(&nothing(), &world).catalog);
            let common = |mesh| translate(mesh, &Scope { client, ..router() });
            for kind in ResourceType::ALL {
                for resource in translation.view.of(kind).iter() {
                    let old = last.view.of(kind).get(resource.name()).filter(|old| *old == resource);
                    let kept = old.is_none_or(|old| Arc::ptr_eq(old, resource));
                    let excused = || {
                        has_owners(&last_mesh)
                            || has_owners(&mesh)
                            || moved(resource, kind, [&common(&last_mesh), &common(&mesh)])
                    };
                    prop_assert!(kept || excused(), "{resource:?} was encoded again");
                }
            }
            (last_mesh, last) = (mesh, translation);
        }
    }
}
