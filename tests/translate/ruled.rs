//! What documents become for proxies: hosts with ports, subsets that only others have, and how much there may be.

use pilot::mesh::Mesh;
use pilot::proxy::Scope;
use pilot::resources::{ResourceType, dangling};
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_registry::{Namespace, Visibility};
use route::header_matcher::HeaderMatchSpecifier;
use route::route::Action;
use serde_json::{Value, json};

use crate::drawn_rules::Store;
use crate::rules::decode;
use crate::world::{mesh, router, spec, translate};

fn document(kind: &str, id: &str, spec: Value) -> Value {
    let (namespace, name) = id.split_once('/').unwrap_or(("default", id));
    let metadata = json!({ "name": name, "namespace": namespace });
    json!({ "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec })
}

/// A service at port 8080, and these documents.
fn ruled(documents: &[Value]) -> Mesh {
    let mut store = Store::default();
    store.take(documents);
    assert_eq!(store.rejections(), Vec::<String>::new());
    let plain = mesh(vec![spec("shop.local", &["8080/http"], &["10.0.0.1:8080"])]);
    Mesh { rules: store.rules.clone(), ..plain }
}

fn virtual_host(mesh: &Mesh, routes: &str, name: &str) -> Option<route::VirtualHost> {
    let routes: route::RouteConfiguration = decode(&translate(mesh, &router()), routes);
    routes.virtual_hosts.into_iter().find(|host| host.name == name)
}

fn in_namespace(name: &str) -> Scope {
    Scope { namespace: Some(Namespace::try_from(name.to_owned()).unwrap()), ..router() }
}

fn has_cluster(mesh: &Mesh, scope: &Scope, name: &str) -> bool {
    let translation = translate(mesh, scope);
    assert_eq!(dangling(&translation.view), vec![], "{scope}");
    translation.view.of(ResourceType::Cluster).get(name).is_some()
}

/// Envoy does not ask for which protocol a cluster is.
#[test]
fn routes_to_a_port_of_tcp_refer_to_its_cluster() {
    let to = |port: u16| json!({ "route": [{ "destination": { "host": "shop.local", "port": { "number": port } } }] });
    let rule = |port| document("VirtualService", "a", json!({ "hosts": ["shop.local"], "http": [to(port)] }));
    let refers_to = |port, cluster: &str| {
        let services = vec![spec("shop.local", &["8080/http", "3306/tcp"], &[])];
        let translation = translate(&Mesh { rules: ruled(&[rule(port)]).rules, ..mesh(services) }, &router());
        let routes = translation.view.of(ResourceType::Route).get("http_listen").unwrap();
        routes.references().any(|(kind, name)| kind == ResourceType::Cluster && **name == *cluster)
    };
    assert!(refers_to(3306, "outbound|3306||shop.local"));
    assert!(
        refers_to(3307, "outbound|3307||shop.local"),
        "the port may come, and the routes are the same then"
    );
}

#[test]
fn a_wildcard_counts_for_hosts_with_a_port_where_ports_count() {
    let to = |host: &str| json!({ "hosts": [host], "http": [{ "route": [{ "destination": { "host": "shop.local" } }] }] });
    let wide = document("VirtualService", "a", to("*.example"));
    let near = document("VirtualService", "b", to("*.api.example"));
    let mesh = ruled(&[wide, near]);
    let last = virtual_host(&mesh, "http_listen", "unknown_host").unwrap();
    let is_of = |route: &route::Route| {
        let headers = route.r#match.clone().unwrap().headers;
        let [has, has_not] = headers.as_slice() else { return None };
        assert!(
            has_not.invert_match && [has, has_not].iter().all(|it| it.name == ":authority"),
            "{headers:?}"
        );
        match has.header_match_specifier.clone()? {
            HeaderMatchSpecifier::StringMatch(text) => Some(format!("{:?}", text.match_pattern?)),
            _ => None,
        }
    };
    let found: Vec<_> = last.routes.iter().filter_map(is_of).collect();
    assert_eq!(
        found,
        [r#"Contains(".api.example:")"#, r#"Contains(".example:")"#],
        "the most specific one first"
    );
    assert_eq!(last.routes.len(), 3, "and who names nobody means the only service");
    // Where ports do not count, the domain is enough.
    let by_port = virtual_host(&mesh, "8080", "unknown_host").unwrap();
    assert_eq!(by_port.routes.len(), 1);
}

#[test]
fn a_document_becomes_no_more_routes_than_it_may_whoever_it_delegates_to() {
    let rule = |header: &str, count: usize, what: Value| {
        let matches: Vec<_> =
            (0..count).map(|i| json!({ "headers": { header: { "exact": i.to_string() } } })).collect();
        let mut rule = what;
        rule["match"] = json!(matches);
        rule
    };
    let leaf = |count| {
        let rule = rule("b", count, json!({ "directResponse": { "status": 201 } }));
        document("VirtualService", "leaf", json!({ "http": [rule] }))
    };
    let root = |count| {
        let first = rule("a", count, json!({ "delegate": { "name": "leaf" } }));
        let rest = json!({ "directResponse": { "status": 202 } });
        document("VirtualService", "root", json!({ "hosts": ["shop.local"], "http": [first, rest] }))
    };
    let routes = |own, delegated| {
        let mesh = ruled(&[root(own), leaf(delegated)]);
        virtual_host(&mesh, "8080", "shop.local:8080").unwrap().routes
    };
    assert_eq!(routes(100, 199).len(), 19_901);
    // 20,000 and the last rule.
    let left = routes(100, 200);
    assert!(
        matches!(&left[..], [route::Route { action: Some(Action::DirectResponse(it)), .. }] if it.status == 202)
    );
    assert_eq!(routes(1000, 1000).len(), 1);
}

#[test]
fn proxies_have_the_subsets_of_the_documents_that_count_for_them_and_no_others() {
    let subset = |name: &str, export: Value| {
        let subset = json!({ "name": name, "labels": { "version": name } });
        json!({ "host": "shop.local", "exportTo": export, "subsets": [subset] })
    };
    let to = |path: &str, subset: &str| {
        let destination = json!({ "host": "shop.local", "subset": subset });
        json!({ "match": [{ "uri": { "prefix": path } }], "route": [{ "destination": destination }] })
    };
    let mesh = ruled(&[
        document("DestinationRule", "shop/own", subset("v1", json!(["."]))),
        document("DestinationRule", "default/all", subset("v2", json!(["*"]))),
        document(
            "VirtualService",
            "a",
            json!({ "hosts": ["shop.local"], "http": [to("/1", "v1"), to("/2", "v2")] }),
        ),
    ]);
    for (scope, own, others) in [(in_namespace("shop"), "v1", "v2"), (router(), "v2", "v1")] {
        assert!(has_cluster(&mesh, &scope, &format!("outbound|8080|{own}|shop.local")), "{scope} {own}");
        assert!(
            !has_cluster(&mesh, &scope, &format!("outbound|8080|{others}|shop.local")),
            "{scope} {others}"
        );
        assert!(has_cluster(&mesh, &scope, "outbound|8080||shop.local"), "{scope}");
    }
}

#[test]
fn who_sees_another_service_of_a_host_has_no_subsets_of_the_one_that_everybody_sees() {
    let subset = json!({ "name": "v1", "labels": { "version": "v1" } });
    let policy =
        document("DestinationRule", "default/all", json!({ "host": "shop.local", "subsets": [subset] }));
    let mut own = spec("shop.local", &["8080/http"], &["10.0.0.9:8080"]);
    own.namespace = Namespace::try_from("shop".to_owned()).unwrap();
    own.visibility = Visibility::Only([own.namespace.clone()].into());
    let mut store = Store::default();
    store.take(&[policy]);
    let everybodys = spec("shop.local", &["8080/http"], &["10.0.0.1:8080"]);
    let mesh = Mesh { rules: store.rules.clone(), ..mesh(vec![everybodys, own]) };
    let subset = "outbound|8080|v1|shop.local";
    assert!(has_cluster(&mesh, &router(), subset));
    assert!(!has_cluster(&mesh, &in_namespace("shop"), subset));
}

#[test]
fn redirects_lead_to_the_port_at_which_the_request_came_in() {
    let redirect = json!({ "redirect": { "uri": "/x", "derivePort": "FROM_REQUEST_PORT" } });
    let hosts = json!(["shop.local", "other.example"]);
    let mesh = ruled(&[document("VirtualService", "a", json!({ "hosts": hosts, "http": [redirect] }))]);
    let port = |routes: &str, name: &str| {
        let host = virtual_host(&mesh, routes, name).unwrap_or_else(|| panic!("no {name} in {routes}"));
        match &host.routes[0].action {
            Some(Action::Redirect(redirect)) => redirect.port_redirect,
            other => panic!("{other:?}"),
        }
    };
    let listen = mesh.options.http_listen.unwrap().port();
    assert_eq!(port("8080", "shop.local:8080"), 8080);
    assert_eq!(port("http_listen", "shop.local:8080"), u32::from(listen));
    assert_eq!(port("http_listen", "other.example:80"), u32::from(listen));
}
