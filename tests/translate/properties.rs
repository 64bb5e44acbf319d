//! Any world: order does not matter, memory does not matter, nothing dangles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{ClientKind, Role, Scope};
use pilot::resources::{Resource, ResourceType, dangling};
use pilot::translate::Translation;
use pilot_envoy_api::envoy::config::cluster::v3::Cluster;
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Locality, Namespace, Resolution, ServiceSpec, Visibility};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;

use crate::world::{Translator, empty, mesh_after, resolved, router, same, shares, source, spec, translate};

/// Few places, so that endpoints share them, and a proxy can be near.
fn locality() -> impl Strategy<Value = Locality> {
    let part = |words: &[&'static str]| prop::sample::select(words.to_vec());
    (part(&["", "eu", "us"]), part(&["", "a", "b"]), part(&["", "r1"])).prop_map(
        |(region, zone, sub_zone)| Locality {
            region: region.into(),
            zone: zone.into(),
            sub_zone: sub_zone.into(),
        },
    )
}

fn namespace() -> impl Strategy<Value = Namespace> {
    prop::sample::select(vec!["default", "shop"]).prop_map(|name| name.to_owned().try_into().unwrap())
}

/// Few names, ports and addresses, so that services collide.
fn service(host: String) -> impl Strategy<Value = ServiceSpec> {
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
            for (endpoint, locality) in spec.endpoints.iter_mut().zip(localities) {
                endpoint.locality = locality;
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

fn services() -> impl Strategy<Value = Vec<ServiceSpec>> {
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
fn in_public(world: Drawn) -> Drawn {
    world.map(|(priority, specs)| {
        let public = |spec| ServiceSpec { visibility: Visibility::Everybody, ..spec };
        (priority, unique(specs.into_iter().map(public).collect()))
    })
}

/// The services that clients of a namespace see, as if everybody saw them. By the words of the documentation: of one
/// host, that of their own namespace, then one that names their namespace, then the one that everybody sees.
fn seen_in(world: &Drawn, namespace: Option<&Namespace>) -> Drawn {
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
fn out_of_the_way(world: Drawn) -> Drawn {
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
type Drawn = [(u32, Vec<ServiceSpec>); 2];

fn world() -> impl Strategy<Value = Drawn> {
    [(0..2u32, services()), (0..2u32, services())]
}

fn after(previous: &Mesh, [one, two]: &Drawn) -> Mesh {
    mesh_after(previous, &[source("one", one.0, one.1.clone()), source("two", two.0, two.1.clone())])
}

/// Envoy refuses routes in which a domain or a virtual host's name is there twice.
fn twice(translation: &Translation) -> Vec<String> {
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
        for found in priorities(&translate(&mesh_after(&empty(), &sources), &router())) {
            prop_assert_eq!(&found, &(0..).take(found.len()).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn nearness_leaves_no_gap_loses_no_endpoint_and_touches_nothing_else(
        world in world(),
        locality in locality(),
    ) {
        let mesh = after(&empty(), &world);
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
        let mesh = after(&empty(), &world);
        let known = mesh.catalog.known_part(&locality);
        let at = |locality| translate(&mesh, &Scope { locality, ..router() });
        prop_assert!(same(&at(known), &at(locality)));
    }

    /// Names of a namespace come to the others, and all of these stay what they are.
    #[test]
    fn a_namespace_adds_names_and_touches_nothing_else(world in world(), namespace in namespace()) {
        let mesh = after(&empty(), &in_public(world));
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
        let seen = translate(&after(&empty(), &seen_in(&world, namespace.as_ref())), &scope);
        let told = translate(&after(&empty(), &world), &scope);
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
        let [mut last_shared, mut last] = both.all(&empty());
        let mut last_mesh = empty();
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
        let forwards = after(&empty(), &world);
        let backwards = mesh_after(&empty(), &[backwards("two", &world[1]), backwards("one", &world[0])]);
        prop_assert!(same(&translate(&forwards, &router()), &translate(&backwards, &router())));
    }

    #[test]
    fn nothing_dangles_and_no_domain_is_there_twice(
        world in world(),
        sidecar: bool,
        namespace in prop::option::of(namespace()),
        client in client(),
    ) {
        let role = if sidecar { Role::Sidecar } else { Role::Router };
        let translation = translate(&after(&empty(), &world), &Scope { role, client, namespace, ..router() });
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
        let mut last_mesh = empty();
        let mut last = translator.translate(&last_mesh);
        for world in worlds {
            let mesh = after(&last_mesh, &world);
            let translation = translator.translate(&mesh);
            prop_assert!(same(&translation, &translate(&mesh, &scope)));
            prop_assert_eq!(&mesh.catalog, &after(&empty(), &world).catalog);
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
