//! Gateways that chance draws: what they become is what Envoy takes, and the same by whatever steps it comes.

use pilot::mesh::Mesh;
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::{ResourceType, dangling};
use pilot_registry_testkit::effort;
use pilot_registry_testkit::server::{Authority, tool};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::drawn_rules::Store;
use crate::properties::twice;
use crate::validated::{bootstrap, refusal, versioned};
use crate::world::{Translator, differences, mesh, same, shares, translate};

fn ingress() -> Scope {
    let labels = [("app".to_owned(), "edge".to_owned())].into();
    Scope { labels: std::sync::Arc::new(labels), ..Scope::new(Role::Ingress, ConfigSource::Ads) }
}

fn one(values: Vec<Value>) -> impl Strategy<Value = Value> + use<> {
    prop::sample::select(values)
}

/// Few hosts, so that they meet.
fn hosts() -> impl Strategy<Value = Value> {
    one(vec![
        json!(["a.example.com"]),
        json!(["*.example.com"]),
        json!(["*"]),
        json!(["b.example.com", "a.example.com"]),
        json!(["default/a.example.com"]),
        json!(["./*.example.com", "other/*"]),
    ])
}

fn server() -> impl Strategy<Value = Value> {
    let files = json!({ "serverCertificate": "/tls/a.pem", "privateKey": "/tls/a.key" });
    let with = |protocol: &str, tls: Value| json!({ "protocol": protocol, "tls": tls });
    let merged = |more: Value| {
        let mut files = files.clone();
        files.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        files
    };
    let kinds = vec![
        with("HTTP", Value::Null),
        with("HTTP2", json!({ "httpsRedirect": true })),
        with("HTTPS", merged(json!({ "mode": "SIMPLE", "minProtocolVersion": "TLSV1_3" }))),
        with(
            "HTTPS",
            merged(json!({ "mode": "MUTUAL", "caCertificates": "/tls/ca.pem", "subjectAltNames": ["x"] })),
        ),
        with(
            "HTTPS",
            merged(json!({ "mode": "OPTIONAL_MUTUAL", "caCertificates": "/tls/ca.pem",
                "cipherSuites": ["ECDHE-ECDSA-AES128-GCM-SHA256"] })),
        ),
        with("TLS", json!({})),
        with("TLS", merged(json!({ "mode": "SIMPLE" }))),
        with("TCP", Value::Null),
    ];
    let binds = vec![Value::Null, json!("127.0.0.1"), json!("::"), json!("unix:///run/edge.sock")];
    let ports = prop::sample::select(vec![80, 443, 9000]);
    (one(kinds), one(binds), ports, hosts()).prop_map(|(kind, bind, port, hosts)| {
        json!({ "port": { "number": port, "protocol": kind["protocol"] }, "tls": kind["tls"], "bind": bind, "hosts": hosts })
    })
}

fn gateway(name: &'static str) -> impl Strategy<Value = Value> {
    let selectors = vec![json!({}), json!({ "app": "edge" }), json!({ "app": "other" })];
    (one(selectors), vec(server(), 1..4)).prop_map(move |(selector, mut servers)| {
        for (i, server) in servers.iter_mut().enumerate() {
            server["port"]["name"] = json!(format!("p{i}"));
        }
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": name },
            "spec": { "selector": selector, "servers": servers } })
    })
}

fn bound(name: &'static str) -> impl Strategy<Value = Value> {
    let to = |host: &str| json!([{ "destination": { "host": host, "port": { "number": 80 } } }]);
    let rules = vec![
        json!({ "http": [{ "route": to("a.mesh") }] }),
        json!({ "http": [{ "match": [{ "uri": { "prefix": "/b" } }], "route": to("b.mesh") }, { "redirect": { "uri": "/" } }] }),
        json!({ "http": [{ "match": [{ "port": 80 }, { "gateways": ["two"] }], "directResponse": { "status": 299 } }] }),
        json!({ "http": [{ "delegate": { "name": "delegated" } }] }),
        json!({ "tls": [{ "match": [{ "sniHosts": ["a.example.com"] }], "route": to("a.mesh") }] }),
        json!({ "tcp": [{ "route": to("b.mesh") }] }),
        json!({ "tcp": [{ "match": [{ "port": 9000 }], "route": to("gone.mesh") }], "http": [{ "route": to("gone.mesh") }] }),
    ];
    let gateways =
        vec![json!(["one"]), json!(["default/two", "mesh"]), json!(["one", "two"]), json!(["gone"])];
    let hosts =
        vec![json!(["a.example.com"]), json!(["*.example.com"]), json!(["b.example.com", "a.example.com"])];
    (one(rules), one(gateways), one(hosts)).prop_map(move |(mut spec, gateways, hosts)| {
        let of_names = hosts.to_string();
        spec["gateways"] = gateways;
        spec["hosts"] = hosts;
        if spec.get("tls").is_some() && !of_names.contains("a.example.com") && !of_names.contains('*') {
            spec["hosts"] = json!(["a.example.com"]);
        }
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": name }, "spec": spec })
    })
}

fn documents() -> impl Strategy<Value = Vec<Value>> {
    let delegated = json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "delegated" },
        "spec": { "http": [{ "match": [{ "uri": { "exact": "/d" } }], "route": [{ "destination": { "host": "b.mesh" } }] }] } });
    let some = |document: BoxedStrategy<Value>| prop::option::weighted(0.8, document);
    let all = [
        some(gateway("one").boxed()),
        some(gateway("two").boxed()),
        some(bound("a").boxed()),
        some(bound("b").boxed()),
        some(bound("c").boxed()),
        some(Just(delegated).boxed()),
    ];
    all.prop_map(|all| all.into_iter().flatten().collect())
}

fn with_rules(documents: &[Value]) -> Mesh {
    let mut store = Store::default();
    store.take(documents);
    assert_eq!(store.rejections(), Vec::<String>::new(), "{}", json!(documents));
    let services = ["a.mesh", "b.mesh"].map(|host| versioned(host, &["80/http"]));
    mesh(services.to_vec()).with_rules(store.rules)
}

#[test]
fn what_gateways_become_does_not_depend_on_the_steps() {
    let config = Config {
        cases: effort(60, 2000).try_into().unwrap(),
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&vec(documents(), 1..5), |steps| {
            let mut translator = Translator::new(ingress());
            let mut store = Store::default();
            for documents in steps {
                store.take(&documents);
                prop_assert_eq!(store.rejections(), Vec::<String>::new(), "{}", json!(documents));
                let services = ["a.mesh", "b.mesh"].map(|host| versioned(host, &["80/http"]));
                let mesh = mesh(services.to_vec()).with_rules(store.rules.clone());
                let (by_steps, at_once) = (translator.translate(&mesh), translate(&mesh, &ingress()));
                prop_assert_eq!(differences(&by_steps, &at_once), Vec::<String>::new());
                prop_assert!(same(&by_steps, &at_once));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_gateways_become_is_what_envoy_takes() {
    let Some(newest) = tool("PILOT_TEST_ENVOY", "a real Envoy") else { return };
    let Some(oldest) = tool("PILOT_TEST_ENVOY_OLD", "the oldest Envoy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut authority = Authority::new(folder.path()).unwrap();
    let issued = authority.issue("a", &["a.example.com"]).unwrap();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let files = [read(&issued.certificate), read(&issued.key), read(&authority.certificate())];
    let cases = effort(12, 400).try_into().unwrap();
    let config = Config { cases, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&documents(), |documents| {
            let translation = translate(&with_rules(&documents), &ingress());
            prop_assert_eq!(twice(&translation), Vec::<String>::new());
            let lost = dangling(&translation.view);
            prop_assert!(lost.iter().all(|it| format!("{it:?}").contains("gone.mesh")), "{lost:?}");
            let mut bootstrap = bootstrap(&translation);
            put_files(&mut bootstrap, &files);
            for envoy in [&newest, &oldest] {
                if let Some(said) = refusal(envoy, &bootstrap) {
                    let words = format!("{}: {said}: {}", envoy.display(), json!(documents));
                    return Err(TestCaseError::fail(words));
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Puts files in the place of secrets, which an Envoy would ask for.
fn put_files(value: &mut Value, files @ [certificate, key, authorities]: &[String; 3]) {
    if let Value::Object(fields) = value {
        if fields.remove("tls_certificate_sds_secret_configs").is_some() {
            let pair = json!({ "certificate_chain": { "inline_string": certificate }, "private_key": { "inline_string": key } });
            fields.insert("tls_certificates".to_owned(), json!([pair]));
        }
        if let Some(mut combined) = fields.remove("combined_validation_context") {
            let mut own = combined["default_validation_context"].take();
            own["trusted_ca"] = json!({ "inline_string": authorities });
            fields.insert("validation_context".to_owned(), own);
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| put_files(value, files)),
        Value::Array(items) => items.iter_mut().for_each(|value| put_files(value, files)),
        _ => {}
    }
}

#[test]
fn a_change_that_touches_no_gateway_makes_nothing_anew() {
    let gateway = json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "one" },
        "spec": { "servers": [{ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] }] } });
    let rule = |name: &str, to: &str| {
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": name },
            "spec": { "hosts": [format!("{name}.example.com")], "gateways": ["one"], "http": [{ "route": [{ "destination": { "host": to } }] }] } })
    };
    let mut translator = Translator::new(ingress());
    let first = with_rules(&[gateway.clone(), rule("a", "a.mesh"), rule("b", "b.mesh")]);
    let before = translator.translate(&first);
    // Other endpoints, and rules of the mesh.
    let services = vec![
        versioned("a.mesh", &["80/http"]),
        versioned("b.mesh", &["80/http"]),
        versioned("c.mesh", &["80/http"]),
    ];
    let more = mesh(services).with_rules(first.rules.clone());
    let after = translator.translate(&more);
    for kind in [ResourceType::Listener, ResourceType::Route] {
        assert!(shares(&before, &after, kind), "{kind}");
    }
    // One document: the virtual hosts of others stay.
    let changed =
        Mesh { rules: with_rules(&[gateway, rule("a", "b.mesh"), rule("b", "b.mesh")]).rules, ..more };
    let last = translator.translate(&changed);
    assert!(shares(&after, &last, ResourceType::Listener));
    assert_eq!(differences(&after, &last), ["rds http.80", "rds http.80"]);
}
