//! Names that only clients of a service's own namespace use.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{ClientKind, Scope};
use pilot::resources::{Resource, ResourceType, dangling};
use pilot::translate::{LayerKey, Layers, Translation};
use pilot_envoy_api::envoy::config::route::v3::{RouteConfiguration, route, route_action};
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Resolution, ServiceSpec};
use prost::Message;

use tokio::time::Instant;

use crate::world::{Translator, empty, mesh, mesh_after, resolved, router, shares, source, spec, translate};

/// `name.namespace`, which clients of the namespace call `name`.
fn local(name: &str, namespace: &str, ports: &[&str], endpoints: &[&str]) -> ServiceSpec {
    let mut spec = spec(&format!("{name}.{namespace}"), ports, endpoints);
    spec.namespace = namespace.to_owned().try_into().unwrap();
    spec.local_names = vec![name.parse().unwrap()];
    spec
}

fn scope(namespace: &str) -> Scope {
    Scope { namespace: Some(namespace.to_owned().try_into().unwrap()), ..router() }
}

fn resource<'a>(translation: &'a Translation, kind: ResourceType, name: &str) -> &'a Arc<Resource> {
    translation.view.of(kind).get(name).unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// Where each domain leads to in a route configuration.
fn domains(translation: &Translation, routes: &str) -> BTreeMap<String, String> {
    let any = resource(translation, ResourceType::Route, routes).any_bytes();
    let any = Any::decode(any.clone()).unwrap();
    let routes = RouteConfiguration::decode(any.value).unwrap();
    let mut domains = BTreeMap::new();
    for host in routes.virtual_hosts.into_iter().filter(|host| host.domains != ["*"]) {
        let Some(route::Action::Route(action)) = &host.routes[0].action else { panic!("{host:?}") };
        let Some(route_action::ClusterSpecifier::Cluster(cluster)) = &action.cluster_specifier else {
            panic!("{host:?}")
        };
        for domain in host.domains {
            assert_eq!(domains.insert(domain, cluster.clone()), None, "{}", host.name);
        }
    }
    domains
}

fn listeners(translation: &Translation) -> Vec<&str> {
    let listeners = translation.view.of(ResourceType::Listener).iter();
    listeners.map(|listener| &**listener.name()).collect()
}

fn conflicts(mesh: &Mesh) -> Vec<String> {
    translate(mesh, &scope("shop")).conflicts.iter().map(ToString::to_string).collect()
}

fn webs() -> Vec<ServiceSpec> {
    vec![local("web", "bank", &["80/http"], &[]), local("web", "shop", &["80/http", "81/http"], &[])]
}

#[test]
fn each_namespace_has_its_own() {
    let mesh = mesh(webs());
    for (namespace, other) in [("bank", "shop"), ("shop", "bank")] {
        let translation = translate(&mesh, &scope(namespace));
        let (own, others) = (format!("outbound|80||web.{namespace}"), format!("outbound|80||web.{other}"));
        for routes in ["80", "http_listen"] {
            let domains = domains(&translation, routes);
            assert_eq!(domains["web"], own, "{routes}");
            assert_eq!(domains[&format!("web.{other}")], others, "{routes}");
        }
        let domains = domains(&translation, "http_listen");
        assert_eq!((&domains["web:80"], &domains["web:*"]), (&own, &own));
    }
    assert_eq!(domains(&translate(&mesh, &scope("shop")), "81")["web"], "outbound|81||web.shop");
    for stranger in [router(), scope("elsewhere")] {
        let translation = translate(&mesh, &stranger);
        assert!(!domains(&translation, "http_listen").keys().any(|it| it.starts_with("web:")), "{stranger}");
        assert!(!domains(&translation, "80").contains_key("web"), "{stranger}");
    }
}

#[test]
fn grpc_clients_find_names_of_their_own_namespace() {
    let greeter = |namespace| local("greeter", namespace, &["50051/grpc"], &[]);
    let dns = resolved(local("dns", "shop", &["80/grpc"], &[]), Resolution::Dns);
    let mesh = mesh(vec![greeter("bank"), greeter("shop"), dns]);
    let common = translate(&mesh, &router());
    let shop = translate(&mesh, &scope("shop"));
    let mut more = listeners(&shop);
    more.retain(|name| !listeners(&common).contains(name));
    assert_eq!(more, ["greeter", "greeter:50051"]);
    for name in more {
        let listener = resource(&shop, ResourceType::Listener, name);
        assert!(listener.is_by_name_only());
        let references: Vec<_> = listener.references().map(|(_, to)| &**to).collect();
        assert_eq!(references, ["outbound|50051||greeter.shop"]);
    }
}

#[test]
fn a_name_that_all_clients_use_goes_before_one_of_a_namespace() {
    let mut alias = spec("everywhere.local", &["80/http"], &[]);
    alias.aliases = vec!["web".parse().unwrap()];
    let services = [webs(), vec![alias]].concat();
    let mesh = mesh(services);
    let expected = ["bank", "shop"].map(|namespace| {
        format!(
            "web.{namespace} cannot be called web in namespace {namespace}: everywhere.local has that name (a name \
             that all clients use goes before one of a namespace): give one of them another"
        )
    });
    assert_eq!(conflicts(&mesh), expected);
    let translation = translate(&mesh, &scope("shop"));
    assert_eq!(domains(&translation, "http_listen")["web"], "outbound|80||everywhere.local");
}

#[test]
fn in_one_namespace_the_first_host_has_the_name_and_the_next_one_waits_for_it() {
    let second =
        || ServiceSpec { local_names: vec!["web".parse().unwrap()], ..local("x", "shop", &["80/http"], &[]) };
    let mut translator = Translator::new(scope("shop"));
    let first = mesh([webs(), vec![second()]].concat());
    let expected = "x.shop cannot be called web in namespace shop: web.shop has that name (the first in the \
                    alphabet wins): give one of them another";
    let before = translator.translate(&first);
    assert_eq!(before.conflicts.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert_eq!(domains(&before, "80")["web"], "outbound|80||web.shop");
    let after = translator.translate(&mesh_after(&first, &[source("file", 0, vec![second()])]));
    assert_eq!(domains(&after, "80")["web"], "outbound|80||x.shop");
    assert!(after.conflicts.is_empty());
}

/// Everybody's name comes and goes, and takes that of the namespaces away and gives it back.
#[test]
fn what_all_clients_call_it_matters_to_namespaces_at_once() {
    let mut translator = Translator::new(scope("shop"));
    let mut last = empty();
    for taken in [false, true, false] {
        let taker = taken.then(|| spec("web", &["80/http"], &[]));
        last = mesh_after(&last, &[source("file", 0, webs().into_iter().chain(taker).collect())]);
        let translation = translator.translate(&last);
        let owner = if taken { "outbound|80||web" } else { "outbound|80||web.shop" };
        assert_eq!(domains(&translation, "80")["web"], owner);
        assert_eq!(translation.conflicts.len(), if taken { 2 } else { 0 });
        assert_eq!(dangling(&translation.view), []);
    }
}

#[test]
fn a_name_of_a_bound_listener_is_no_grpc_name_in_a_namespace_either() {
    let mesh = mesh(vec![local("http_listen", "shop", &["80/grpc"], &[])]);
    let expected = "http_listen.shop cannot be reached as xds:///http_listen in namespace shop: Envoy's listeners \
                    have names of that form: name the port, xds:///http_listen:80";
    assert_eq!(conflicts(&mesh), [expected]);
    assert_eq!(translate(&mesh, &router()).conflicts.len(), 1, "it does not depend on who asks");
    let listeners = translate(&mesh, &scope("shop"));
    assert!(listeners.view.of(ResourceType::Listener).get("http_listen:80").is_some());
}

#[test]
fn an_endpoint_change_costs_a_namespace_nothing() {
    let world = |endpoints: &[&str]| [webs(), vec![local("a", "shop", &["80/grpc"], endpoints)]].concat();
    let mut both = Translator::of([router(), scope("shop")]);
    let first = mesh(world(&["10.0.0.1:80"]));
    let [_, before] = both.all(&first);
    let second = mesh_after(&first, &[source("file", 0, world(&["10.0.0.1:80", "10.0.0.2:80"]))]);
    let [shared, after] = both.all(&second);
    for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route] {
        assert!(shares(&before, &after, kind), "{kind}");
    }
    for kind in [ResourceType::Cluster, ResourceType::Endpoint] {
        assert!(shares(&shared, &after, kind), "{kind}");
    }
    assert!(!shares(&before, &after, ResourceType::Endpoint), "the endpoints did change");
    let layers = |translation: &Translation| Arc::clone(&translation.view.layers()[0]);
    assert!(Arc::ptr_eq(&layers(&before), &layers(&after)), "the namespace's layer was not touched");
}

#[test]
fn only_routes_in_which_something_changed_are_put_together_again() {
    let world =
        |port: &str| vec![local("a", "shop", &["80/http"], &[]), local("b", "shop", &["81/http", port], &[])];
    let mut shop = Translator::new(scope("shop"));
    let first = mesh(world("82/http"));
    let before = shop.translate(&first);
    let after = shop.translate(&mesh_after(&first, &[source("file", 0, world("83/http"))]));
    for routes in ["80", "81"] {
        let [before, after] = [&before, &after].map(|it| resource(it, ResourceType::Route, routes));
        assert!(Arc::ptr_eq(before, after), "{routes}");
    }
    assert!(after.view.of(ResourceType::Route).get("82").is_none());
    assert_eq!(domains(&after, "83")["b"], "outbound|83||b.shop");
}

/// Scopes of one namespace at several places share its layer, and it is let go when nobody wants it any more.
#[test]
fn what_no_proxy_asks_for_any_more_is_let_go() {
    let near = Scope {
        locality: pilot_registry::Locality { region: "eu".into(), ..Default::default() },
        ..scope("shop")
    };
    let mut layers = Layers::default();
    [router(), scope("shop"), near.clone()].iter().for_each(|scope| layers.follow(scope));
    layers.advance(Arc::new(mesh(webs())), Instant::now());
    let routes = [scope("shop"), near].map(|scope| {
        let view = layers.view(&scope).unwrap();
        Arc::downgrade(view.of(ResourceType::Route).get("80").unwrap())
    });
    assert!(routes[0].ptr_eq(&routes[1]));
    assert!(routes[0].upgrade().is_some());
    let router = LayerKey::of(&router());
    let others = LayerKey::of(&scope("shop")).into_iter().filter(|key| !router.contains(key));
    others.for_each(|key| layers.forget(&key));
    assert!(routes[0].upgrade().is_none());
}

/// Nothing that others are told changes with it.
#[test]
fn a_service_that_gets_or_loses_a_local_name_alone_is_noticed() {
    let world = |named: bool| {
        let a = local("a", "shop", &["80/http"], &[]);
        let a = if named { a } else { ServiceSpec { local_names: Vec::new(), ..a } };
        vec![a, local("b", "shop", &["80/http"], &[])]
    };
    let mut both = Translator::of([router(), scope("shop")]);
    let mut last = mesh(world(true));
    let [before, _] = both.all(&last);
    for named in [true, false, true] {
        last = mesh_after(&last, &[source("file", 0, world(named))]);
        let [now, translation] = both.all(&last);
        for routes in ["80", "http_listen"] {
            assert_eq!(domains(&translation, routes).contains_key("a"), named, "{routes}");
            assert!(domains(&translation, routes).contains_key("b"), "{routes}");
        }
        assert!(shares(&before, &now, ResourceType::Route));
    }
}

/// Who takes routes in parts has the virtual hosts of its namespace in the routes that everybody has.
#[test]
fn of_routes_in_parts_only_virtual_hosts_are_made_for_a_namespace() {
    let in_parts = |scope: Scope| Scope { client: ClientKind::EnvoyWithVhds, ..scope };
    let mesh = mesh(vec![local("web", "shop", &["80/http"], &["10.0.0.1:1"])]);
    let [all, shop] = Translator::of([in_parts(router()), in_parts(scope("shop"))]).all(&mesh);
    for name in ["80~v", "http_listen~v"] {
        let of = |kind| [&all, &shop].map(|it| resource(it, kind, name));
        let [everybodys, own] = of(ResourceType::Route);
        assert!(Arc::ptr_eq(everybodys, own), "{name}");
        let [everybodys, own] = of(ResourceType::VirtualHost).map(|hosts| hosts.rope().unwrap());
        let more: Vec<_> = own.changes_since(everybodys).into_iter().filter_map(|it| it.now).collect();
        assert!(more.len() == 1 && more[0].name().ends_with("/shop"), "{name}: {more:?}");
    }
    assert!(shares(&all, &shop, ResourceType::Listener));
}
