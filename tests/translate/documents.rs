//! Any documents of rules in any world: memory does not matter, nothing dangles.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::{Origin, Resource, ResourceType, dangling};
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Namespace, Visibility};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use crate::drawn::{after, locality, namespace, world};
use crate::drawn_rules::{Store, document};
use crate::properties::twice;
use crate::world::{Translator, differences, empty, mesh, router, same, spec, translate};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn documents_are_valid(document in document()) {
        let mut store = Store::default();
        store.take(std::slice::from_ref(&document));
        prop_assert_eq!(store.rejections(), Vec::<String>::new(), "{}", document);
    }

    #[test]
    fn rules_that_follow_give_what_those_from_scratch_give(
        steps in vec((world(), vec(document(), 0..6), any::<bool>()), 1..5),
        namespace in prop::option::of(namespace()),
        is_labelled: bool,
        place in (locality(), prop::sample::select(vec!["", "v1", "gone"]), any::<bool>()),
    ) {
        let labels = if is_labelled { [("app".to_owned(), "web".to_owned())].into() } else { Default::default() };
        let (locality, version, prefer_near) = place;
        let value = Some(version).filter(|version| *version != "gone").map(Arc::from);
        let affinity = (!version.is_empty()).then(|| (Arc::from("version"), value)).into_iter().collect();
        let labelled = Scope { namespace, labels: Arc::new(labels), ..router() };
        let placed = Scope { locality, affinity: Arc::new(affinity), ..labelled.clone() };
        let nearby = Scope { namespace: None, labels: Arc::default(), ..placed.clone() };
        let scopes = [router(), labelled, placed, nearby];
        let mut translator = Translator::of(scopes.clone());
        let (mut last, mut last_world, mut store) = (empty(), None, Store::default());
        for (world, documents, only_rules) in steps {
            store.take(&documents);
            let world = last_world.clone().filter(|_| only_rules).unwrap_or(world);
            let mut mesh = Mesh { rules: store.rules.clone(), ..after(&last, &world) };
            mesh.options.prefer_near = prefer_near;
            let translations = translator.all(&mesh);
            for (scope, translation) in scopes.iter().zip(&translations) {
                let whole = translate(&mesh, scope);
                let differences = differences(translation, &whole);
                prop_assert!(same(translation, &whole), "{scope}: {differences:?}: {documents:?}");
                prop_assert_eq!(dangling(&translation.view), vec![]);
                prop_assert_eq!(twice(translation), Vec::<String>::new());
            }
            (last, last_world) = (mesh, Some(world));
        }
    }
}

/// The virtual host of that name in the routes of `http_listen`.
fn virtual_host(mesh: &Mesh, name: &str) -> route::VirtualHost {
    let translation = translate(mesh, &router());
    let routes = translation.view.of(ResourceType::Route).get("http_listen").unwrap().any_bytes();
    let routes = route::RouteConfiguration::decode(Any::decode(routes).unwrap().value).unwrap();
    let known: Vec<_> = routes.virtual_hosts.iter().map(|host| host.name.clone()).collect();
    let found = routes.virtual_hosts.into_iter().find(|host| host.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {known:?}"))
}

#[test]
fn who_names_no_service_means_the_only_one_with_its_rules() {
    let document = |name: &str, host: &str, status: u32| {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": { "name": name },
            "spec": { "hosts": [host], "http": [
                { "match": [{ "uri": { "prefix": "/said" } }], "directResponse": { "status": status } },
                { "route": [{ "destination": { "host": "shop.local" } }] },
            ] },
        })
    };
    let mut store = Store::default();
    // The other host, which no service has, is nobody's default, though its port is 80.
    store.take(&[document("shop", "shop.local", 297), document("other", "other.example", 298)]);
    let shop = spec("shop.local", &["8080/http"], &["10.0.0.1:8080"]);
    let mesh = Mesh { rules: store.rules.clone(), ..mesh(vec![shop]) };
    let named = virtual_host(&mesh, "shop.local:8080");
    let nameless = virtual_host(&mesh, "unknown_host");
    assert_eq!(named.routes.len(), 2);
    let without_authority = nameless.routes.iter().cloned().map(|mut route| {
        let headers = &mut route.r#match.as_mut().unwrap().headers;
        assert_eq!(headers.pop().unwrap().name, ":authority");
        route
    });
    assert_eq!(without_authority.collect::<Vec<_>>(), named.routes);
    assert_eq!(virtual_host(&mesh, "other.example:80").domains, ["other.example", "other.example:*"]);
}

#[test]
fn a_destination_is_there_for_those_who_see_it() {
    let document = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "a", "namespace": "shop" },
        "spec": { "hosts": ["shop.example", "open.local"], "http": [{ "route": [{ "destination": { "host": "a" } }] }] },
    });
    let mut store = Store::default();
    store.take(&[document]);
    let mut hidden = spec("a", &["80/http"], &["10.0.0.1:8080"]);
    let shop = Namespace::try_from("shop".to_owned()).unwrap();
    hidden.namespace = shop.clone();
    hidden.visibility = Visibility::Only([shop.clone()].into());
    let open = spec("open.local", &["80/http"], &["10.0.0.2:8080"]);
    let mesh = Mesh { rules: store.rules.clone(), ..mesh(vec![hidden, open]) };
    let inside = Scope { namespace: Some(shop), ..router() };
    for (scope, is_seen) in [(router(), false), (inside, true)] {
        let translation = translate(&mesh, &scope);
        assert_eq!(dangling(&translation.view), vec![], "{scope}");
        let clusters = translation.view.of(ResourceType::Cluster);
        assert_eq!(clusters.get("outbound|80||a").is_some(), is_seen, "{scope}");
    }
}

/// The name of a subset that is not there is a name, too: the bytes are the same. Once it is there, who has them leads to it.
#[test]
fn routes_lead_to_a_subset_whether_a_document_defines_it_or_not() {
    let document = |kind: &str, spec: serde_json::Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": { "name": kind.to_lowercase() }, "spec": spec,
        })
    };
    let destination = json!({ "destination": { "host": "b", "subset": "v1" } });
    let routes = document("VirtualService", json!({ "hosts": ["a"], "http": [{ "route": [destination] }] }));
    let subset = json!({ "name": "v1", "labels": { "version": "v1" } });
    let policy = document("DestinationRule", json!({ "host": "b", "subsets": [subset] }));
    let plain = mesh(["a", "b"].map(|host| spec(host, &["80/http"], &["10.0.0.1:8080"])).into());
    let (without, with) = ([routes.clone()], [routes, policy]);
    let scopes = [ConfigSource::Ads, ConfigSource::AdsOfGrpc].map(|it| Scope::new(Role::Router, it));
    let (mut translator, mut store) = (Translator::of(scopes.clone()), Store::default());
    for documents in [&without[..], &with, &without] {
        store.take(documents);
        let translations = translator.all(&Mesh { rules: store.rules.clone(), ..plain.clone() });
        for (scope, translation) in scopes.iter().zip(translations) {
            assert_eq!(dangling(&translation.view), vec![]);
            let kinds = [ResourceType::Listener, ResourceType::Route].into_iter();
            let resources =
                kinds.flat_map(|kind| translation.view.of(kind).iter().cloned().collect::<Vec<_>>());
            let leads = |it: &Arc<Resource>| it.references().any(|(_, name)| **name == *"outbound|80|v1|b");
            let leading: Vec<_> = resources.filter(leads).collect();
            assert!(!leading.is_empty(), "{scope}");
        }
    }
}

/// What a client accepts and refuses is told of the document that it is from.
#[test]
fn a_document_that_takes_the_place_of_another_and_says_the_same_is_another_origin_and_version() {
    let named = |name: &str| {
        let head = |kind: &str, spec: serde_json::Value| {
            let version = "networking.istio.io/v1";
            json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "labels": { "of": kind } }, "spec": spec })
        };
        let answer = json!({ "directResponse": { "status": 201 } });
        [
            head("VirtualService", json!({ "hosts": ["a", "a.test"], "http": [answer] })),
            head(
                "DestinationRule",
                json!({ "host": "a", "trafficPolicy": { "loadBalancer": { "simple": "RANDOM" } } }),
            ),
        ]
    };
    let plain = mesh(vec![spec("a", &["80/http"], &["10.0.0.1:8080"])]);
    let (mut translator, mut store) = (Translator::of([router()]), Store::default());
    let mut before: BTreeMap<(ResourceType, Arc<str>), Box<str>> = BTreeMap::new();
    for name in ["one", "two"] {
        store.take(&named(name));
        let mesh = Mesh { rules: store.rules.clone(), ..plain.clone() };
        let [translation] = &translator.all(&mesh)[..] else { panic!("one scope") };
        let clusters = translation.view.of(ResourceType::Cluster);
        let cluster = clusters.get("outbound|80||a").unwrap();
        assert_eq!(
            cluster.origin().document().map(|it| &**it),
            Some(&*format!("DestinationRule/default/{name}"))
        );
        let mut now =
            BTreeMap::from([((ResourceType::Cluster, Arc::clone(cluster.name())), cluster.version().into())]);
        for host in
            translation.view.of(ResourceType::Route).get("80").unwrap().rope().unwrap().virtual_hosts()
        {
            if host.origin() == &Origin::Shared {
                continue;
            }
            assert_eq!(
                host.origin().document().map(|it| &**it),
                Some(&*format!("VirtualService/default/{name}"))
            );
            now.insert((ResourceType::VirtualHost, Arc::clone(host.name())), host.version());
        }
        assert_eq!(now.len(), 3, "{now:?}");
        let same: Vec<_> = now.iter().filter(|(key, version)| before.get(*key) == Some(version)).collect();
        assert!(same.is_empty(), "{same:?}");
        before = now;
    }
}

#[test]
fn listeners_have_what_rules_may_ask_for_where_there_are_stores() {
    let has_filters = |has_rules| {
        let mut mesh = mesh(vec![spec("a", &["80/http"], &["10.0.0.1:8080"])]);
        mesh.options.has_rules = has_rules;
        let view = translate(&mesh, &router()).view;
        let listeners: Vec<_> = view.of(ResourceType::Listener).iter().map(|it| it.any_bytes()).collect();
        assert!(!listeners.is_empty());
        listeners.iter().all(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            text.contains("envoy.filters.http.cors") && text.contains("envoy.filters.http.fault")
        })
    };
    assert!(has_filters(true));
    assert!(!has_filters(false));
}

#[test]
fn a_host_that_no_service_has_takes_no_port_from_others() {
    let document = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "one" },
        "spec": { "hosts": ["shop.example"], "http": [{ "directResponse": { "status": 299 } }] },
    });
    let mut store = Store::default();
    let plain = mesh(vec![spec("db.local", &["80/tcp"], &["10.0.0.1:5432"])]);
    store.take(&[document]);
    let ruled = Mesh { rules: store.rules.clone(), ..plain.clone() };
    let mut translator = Translator::of([router()]);
    for mesh in [&plain, &ruled, &plain] {
        let [translation] = translator.all(mesh);
        let listeners = translation.view.of(ResourceType::Listener);
        assert!(listeners.get("127.0.0.1_80").is_some(), "the service has port 80");
        assert_eq!(differences(&translation, &translate(mesh, &router())), Vec::<String>::new());
    }
}
