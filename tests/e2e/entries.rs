//! Services that documents say, through a real Envoy.

use std::fs;
use std::net::Ipv4Addr;

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::bootstrap;
use crate::support::envoy::{Envoy, Kind};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::resolver::{Resolver, Says};
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

/// A pilot that reads services from a file, and documents from a folder.
async fn pilot(services: &str, documents: &str) -> Pilot {
    let tables = "[registry.local.file]\npath = \"services.toml\"\n[rules.local.file]\npath = \"rules\"\n[mesh.dns]\n\
                  jitter = \"100ms\"\n";
    let mut pilot = Pilot::prepare_with(tables);
    pilot.write_services(if services.is_empty() { "service = []\n" } else { services });
    fs::create_dir(pilot.folder().join("rules")).unwrap();
    write(&pilot, documents);
    pilot.spawn();
    pilot.ready().await;
    pilot
}

/// Written beside it first: nobody sees half a file.
fn write(pilot: &Pilot, documents: &str) {
    let folder = pilot.folder().join("rules");
    fs::write(folder.join(".new"), documents).unwrap();
    fs::rename(folder.join(".new"), folder.join("all.yaml")).unwrap();
}

/// A document; its spec in YAML's short form.
fn document(kind: &str, name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: \
         {spec}\n"
    )
}

/// A ServiceEntry of that host, which is also its name, with an HTTP port.
fn entry(name: &str, host: &str, more: &str) -> String {
    let ports = "ports: [{number: 8080, name: http, protocol: HTTP}]";
    document("ServiceEntry", name, &format!("{{hosts: [\"{host}\"], {ports}, {more}}}"))
}

fn at(address: &str, port: u16, version: &str) -> String {
    format!("{{address: {address}, ports: {{http: {port}}}, labels: {{version: {version}}}}}")
}

fn port(backend: &Backend) -> u16 {
    backend.socket().port()
}

/// An endpoint of a backend.
fn of(backend: &Backend, version: &str) -> String {
    at("127.0.0.1", port(backend), version)
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_written_are_reached_and_rules_count_for_them() {
    let Some(binary) = envoy() else { return };
    let (v1, v2) = (Backend::http("v1").await, Backend::http("v2").await);
    let both = format!("resolution: STATIC, endpoints: [{}, {}]", of(&v1, "v1"), of(&v2, "v2"));
    let subsets = "{host: api.example, subsets: [{name: v2, labels: {version: v2}}]}";
    let routes = "{hosts: [api.example], http: [{route: [{destination: {host: api.example, subset: v2}}]}]}";
    let wildcard = format!("resolution: STATIC, endpoints: [{}]", of(&v1, "v1"));
    let documents = [
        entry("api", "api.example", &both),
        entry("all", "*.wild.example", &wildcard),
        document("DestinationRule", "api", subsets),
        document("VirtualService", "api", routes),
    ];
    for kind in Kind::ALL {
        let pilot = pilot("", &documents.concat()).await;
        let envoy = Envoy::start(&binary, &pilot, kind).await;
        envoy.answers_only("api.example", "v2").await;
        envoy.answers("a.wild.example", "v1").await;
        envoy.answers("a.b.wild.example:8080", "v1").await;
        envoy.knows_nothing_of("wild.example").await;
        write(&pilot, &documents[..2].concat());
        envoy.answers("api.example", "v1").await;
        envoy.answers("api.example", "v2").await;
        // A service with a name of its own is before the wildcard.
        let own =
            entry("own", "a.wild.example", &format!("resolution: STATIC, endpoints: [{}]", of(&v2, "v2")));
        write(&pilot, &[documents[1].clone(), own].concat());
        envoy.answers_only("a.wild.example", "v2").await;
        envoy.answers_only("b.wild.example", "v1").await;
        envoy.knows_nothing_of("api.example").await;
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_resolved_by_the_proxy() {
    let Some(binary) = envoy() else { return };
    let far = Backend::http("far").await;
    let resolver = Resolver::start(Says::Address(Ipv4Addr::LOCALHOST, 60)).await;
    let own = "ports: [{number: 8080, name: http, protocol: HTTP, targetPort: PORT}], resolution: ";
    let own = own.replace("PORT", &port(&far).to_string());
    let documents = [
        entry(
            "dns",
            "dns.example",
            &format!("resolution: DNS, endpoints: [{}]", at("far.test", port(&far), "v1")),
        ),
        entry(
            "one",
            "one.example",
            &format!("resolution: DNS_ROUND_ROBIN, endpoints: [{}]", at("far.test", port(&far), "v1")),
        ),
        document("ServiceEntry", "own", &format!("{{hosts: [far.test], {own}DNS}}")),
        document("ServiceEntry", "alone", &format!("{{hosts: [alone.test], {own}DNS_ROUND_ROBIN}}")),
    ];
    let pilot = pilot("", &documents.concat()).await;
    let mut saying = bootstrap::envoy(&pilot, Kind::Delta, &[]);
    let at = resolver.address();
    saying["typed_dns_resolver_config"] = json!({
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [{ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } }],
            "dns_resolver_options": { "no_default_search_domain": true },
        },
    });
    let envoy = Envoy::start_from(&binary, &pilot, &saying).await;
    for host in ["dns.example", "one.example", "far.test", "alone.test"] {
        envoy.answers(host, "far").await;
    }
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_chooses_documents_and_what_registries_know() {
    let Some(binary) = envoy() else { return };
    let (vm, pod, other) =
        (Backend::http("vm").await, Backend::http("pod").await, Backend::http("other").await);
    let pods = |app: &str| {
        service(
            "pods.local",
            9000,
            "http",
            &[pod.place().label("app", app), other.place().label("app", "other")],
        )
    };
    let entry = |app: &str| {
        let chosen = format!("resolution: STATIC, workloadSelector: {{labels: {{app: {app}}}}}");
        let ports =
            format!("ports: [{{number: 8080, name: http, protocol: HTTP, targetPort: {}}}]", port(&pod));
        document("ServiceEntry", "api", &format!("{{hosts: [api.example], {ports}, {chosen}}}"))
    };
    let workload = |namespace: &str| {
        let spec = format!("{{address: 127.0.0.1, ports: {{http: {}}}, labels: {{app: api}}}}", port(&vm));
        document("WorkloadEntry", &format!("{namespace}/vm"), &spec)
    };
    let pilot = pilot(&pods("web"), &[entry("api"), workload("elsewhere")].concat()).await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.has_endpoints("outbound|8080||api.example", 0).await;
    write(&pilot, &[entry("api"), workload("default")].concat());
    envoy.answers_only("api.example", "vm").await;
    pilot.write_services(&pods("api"));
    envoy.has_endpoints("outbound|8080||api.example", 2).await;
    envoy.answers("api.example", "pod").await;
    write(&pilot, &entry("api"));
    envoy.answers_only("api.example", "pod").await;
    let services = pilot.debug("/debug/services?host=api.example").await.unwrap();
    assert_eq!(services["registries"], json!(["ServiceEntry/default/api"]));
    assert_eq!(services["instances"][0]["registry"], json!("ServiceEntry/default/api"));
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_namespaces_have_each_their_own() {
    let Some(binary) = envoy() else { return };
    let (all, shop) = (Backend::http("all").await, Backend::http("shop").await);
    let db = |name: &str, backend: &Backend, to: &str| {
        entry(
            name,
            "db.example",
            &format!("resolution: STATIC, exportTo: [{to}], endpoints: [{}]", of(backend, "v1")),
        )
    };
    let documents = |to: &str| [db("bank/db", &all, "'*'"), db("shop/db", &shop, to)].concat();
    let pilots = [pilot("", &documents(".")).await, pilot("", &documents(".")).await];
    let node = |namespace: &str| format!("router~127.0.0.1~laptop~{namespace}.svc.cluster.local");
    let start = async |pilot: &Pilot, namespace: &str| {
        Envoy::start_with(&binary, pilot, Kind::Delta, &["--node-id", &node(namespace)]).await
    };
    let in_shop = start(&pilots[0], "shop").await;
    let in_bank = start(&pilots[1], "bank").await;
    in_shop.answers_only("db.example", "shop").await;
    in_bank.answers_only("db.example", "all").await;
    pilots.iter().for_each(|pilot| write(pilot, &documents("bank")));
    in_shop.answers_only("db.example", "all").await;
    for envoy in [&in_shop, &in_bank] {
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_endpoints_come_and_go() {
    let Some(binary) = envoy() else { return };
    let (v1, v2) = (Backend::http("v1").await, Backend::http("v2").await);
    let api = |endpoints: &[String]| {
        entry("api", "api.example", &format!("resolution: STATIC, endpoints: [{}]", endpoints.join(", ")))
    };
    let states = [vec![of(&v1, "v1")], vec![of(&v1, "v1"), of(&v2, "v2")], vec![of(&v2, "v2")]];
    let vm = |backend: &Backend| {
        let spec =
            format!("{{address: 127.0.0.1, ports: {{http: {}}}, labels: {{app: api}}}}", port(backend));
        document("WorkloadEntry", "vm", &spec)
    };
    let chooses = entry("api", "api.example", "resolution: STATIC, workloadSelector: {labels: {app: api}}");
    let pilot = pilot("", &api(&states[0])).await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers("api.example", "v1").await;
    let load = Load::start(envoy.http_address(), &["api.example"], 2, &[]);
    for _ in 0..5 {
        for state in &states {
            write(&pilot, &api(state));
            load.more(100).await;
        }
        for backend in [&v1, &v2] {
            write(&pilot, &[chooses.clone(), vm(backend)].concat());
            load.more(100).await;
        }
    }
    load.finish().await.assert_no_failure();
    envoy.answers_only("api.example", "v2").await;
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_documents_is_told_with_the_other_one_and_the_cure() {
    let tcp = |name: &str, host: &str| {
        let ports = "ports: [{number: 5432, name: db, protocol: TCP}]";
        document("ServiceEntry", name, &format!("{{hosts: [{host}], {ports}, resolution: DNS}}"))
    };
    let documents = [tcp("one", "a.example"), tcp("two", "b.example")].concat();
    let pilot = pilot("", &documents).await;
    until("the second one is told of the first one", async || {
        let rules = pilot.debug("/debug/rules").await?.to_string();
        let is_told = rules.contains("connections to port 5432 go to a.example (ServiceEntry/default/one)");
        holds(is_told && rules.contains("write addresses in each"), rules)
    })
    .await;
}
