//! Clients of a Kubernetes namespace call its services by short names, and mean their own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use pilot_registry_testkit::server::kubernetes::KubernetesServer;
use serde_json::json;

use crate::e2e::parts::{in_sync, pushed, virtual_hosts};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::http;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::tools::{envoy, oldest_envoy, python};
use crate::support::wait::{holds, until};

const TOKEN: &str = "open-sesame-8123";
const PORT: u16 = 9080;

/// An API server, and what its controllers write.
struct Cluster(KubernetesServer);

impl Cluster {
    async fn start() -> Self {
        Self(KubernetesServer::start(TOKEN).await.unwrap())
    }

    /// A service with these endpoints. The port's name says its protocol.
    fn put(&self, namespace: &str, name: &str, protocol: &str, endpoints: &[SocketAddr]) {
        let metadata = json!({ "namespace": namespace, "name": name });
        let ports = json!([{ "name": protocol, "port": PORT }]);
        self.0.put("services", json!({ "metadata": metadata, "spec": { "ports": ports } }));
        for (at, endpoint) in endpoints.iter().enumerate() {
            let labels = json!({ "kubernetes.io/service-name": name });
            let slice = format!("{name}-{at}");
            let object = json!({
                "metadata": { "namespace": namespace, "name": slice, "labels": labels },
                "addressType": "IPv4",
                "ports": [{ "name": protocol, "port": endpoint.port() }],
                "endpoints": [{ "addresses": [endpoint.ip()], "conditions": { "ready": true } }],
            });
            self.0.put("endpointslices", object);
        }
    }

    /// Removes a service that has one slice.
    fn delete(&self, namespace: &str, name: &str) {
        self.0.delete("services", namespace, name);
        self.0.delete("endpointslices", namespace, &format!("{name}-0"));
    }

    /// A pilot that follows all of it.
    async fn pilot(&self) -> Pilot {
        let mut pilot = Pilot::prepare_with("[registry.cluster.kubernetes]\nkubeconfig = \"kubeconfig\"\n");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.0.address()) } }],
            "users": [{ "name": "test", "user": { "token": TOKEN } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        fs::write(pilot.folder().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        pilot.spawn();
        pilot.ready().await;
        pilot
    }
}

/// The arguments for a client of that namespace.
fn within(namespace: &str) -> [String; 2] {
    ["--node-id".to_owned(), format!("router~127.0.0.1~laptop~{namespace}.svc.cluster.local")]
}

async fn start(binary: &Path, pilot: &Pilot, kind: Kind, namespace: &str) -> Envoy {
    let arguments = within(namespace);
    Envoy::start_with(binary, pilot, kind, &arguments.each_ref().map(String::as_str)).await
}

/// Waits until requests for the host are answered by this backend, also at the listener of the service's port.
async fn answers(envoy: &Envoy, host: &str, name: &str) {
    envoy.answers_only(host, name).await;
    until(&format!("{host} is answered by {name} at its own port"), async || {
        let answer = http::body(envoy.port(PORT), host, "/").await?;
        holds(answer == name, format!("{answer} answered"))
    })
    .await;
}

async fn namespaces_have_names_of_their_own(binary: &Path, kind: Kind) {
    let cluster = Cluster::start().await;
    let shop = [Backend::http("shop").await, Backend::http("shop-2").await];
    let bank = Backend::http("bank").await;
    cluster.put("shop", "web", "http", &[shop[0].socket()]);
    cluster.put("bank", "web", "http", &[bank.socket()]);
    // Each Envoy opens the same listeners: each has a pilot of its own, and with it an address.
    let pilots = [cluster.pilot().await, cluster.pilot().await, cluster.pilot().await];
    let in_shop = start(binary, &pilots[0], kind, "shop").await;
    let in_bank = start(binary, &pilots[1], kind, "bank").await;
    let nowhere = Envoy::start(binary, &pilots[2], kind).await;
    for (envoy, web) in [(&in_shop, "shop"), (&in_bank, "bank")] {
        for (host, name) in [("web", web), ("web.shop", "shop"), ("web.bank.svc.cluster.local", "bank")] {
            answers(envoy, host, name).await;
        }
        envoy.answers(&format!("web:{PORT}"), web).await;
    }
    nowhere.knows_nothing_of("web").await;
    nowhere.answers("web.shop", "shop").await;
    let proxies = pilots[0].debug("/debug/proxies").await.unwrap();
    let proxy = &proxies["proxies"][0];
    assert_eq!(proxy["namespace"], "shop");
    assert!(proxy["streams"][0]["scope"].as_str().unwrap().ends_with(" in shop"), "{proxy}");

    // The endpoints of one change, and the other does not notice.
    let load = [
        Load::start(in_shop.http_address(), &["web"], 2, &[]),
        Load::start(in_bank.http_address(), &["web.shop"], 2, &[]),
    ];
    cluster.put("shop", "web", "http", &[shop[1].socket()]);
    answers(&in_shop, "web", "shop-2").await;
    answers(&in_bank, "web", "bank").await;

    // The last one of a namespace takes the name with it, and brings it back.
    cluster.delete("bank", "web");
    in_bank.knows_nothing_of("web").await;
    load[1].more(100).await;
    cluster.put("bank", "web", "http", &[bank.socket()]);
    answers(&in_bank, "web", "bank").await;
    for load in load {
        load.finish().await.assert_no_failure();
    }
    for envoy in [in_shop, in_bank, nowhere] {
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_have_names_of_their_own_delta() {
    let Some(binary) = envoy() else { return };
    namespaces_have_names_of_their_own(&binary, Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_have_names_of_their_own_per_type_sotw_with_the_oldest_envoy() {
    let Some(binary) = oldest_envoy() else { return };
    namespaces_have_names_of_their_own(&binary, Kind::PerTypeSotw).await;
}

/// An Envoy of a namespace that sees services otherwise than everybody takes its routes in parts, too.
#[tokio::test(flavor = "multi_thread")]
async fn p25_names_of_a_namespace_come_change_and_go_one_by_one_and_no_other_request_fails() {
    let Some(binary) = envoy() else { return };
    let cluster = Cluster::start().await;
    let [one, two] = [Backend::http("one").await, Backend::http("two").await];
    for number in 0..100 {
        cluster.put("shop", &format!("service-{number}"), "http", &[one.socket()]);
    }
    let mut pilot = cluster.pilot().await;
    let envoy = start(&binary, &pilot, Kind::Delta, "shop").await;
    answers(&envoy, "service-0", "one").await;
    in_sync(&pilot).await;
    let routes = virtual_hosts(&envoy).await;
    assert!(routes.keys().eq(["9080~v", "http_listen~v"]), "{:?}", routes.keys());
    assert!(
        routes.values().all(|hosts| hosts.len() > 200),
        "each service, by its names and by those of shop"
    );
    let (whole, parts) =
        (pushed(&pilot, "push_bytes", "rds").await, pushed(&pilot, "push_bytes", "vhds").await);
    assert!(whole < 1000, "skeletons of {whole} bytes");
    let load = Load::start(envoy.http_address(), &["service-0", "service-99.shop"], 4, &[]);
    for _ in 0..5 {
        cluster.put("shop", "new", "http", &[two.socket()]);
        answers(&envoy, "new", "two").await;
        cluster.put("bank", "other", "http", &[two.socket()]);
        answers(&envoy, "other.bank", "two").await;
        cluster.delete("shop", "new");
        envoy.knows_nothing_of("new").await;
        cluster.delete("bank", "other");
        envoy.knows_nothing_of("other.bank").await;
    }
    load.more(100).await;
    in_sync(&pilot).await;
    assert_eq!(pushed(&pilot, "push_bytes", "rds").await, whole, "routes stay as they are");
    // A service of the namespace is in both routes with its names, and with those of the namespace.
    let each = (pushed(&pilot, "push_bytes", "vhds").await - parts) / 20;
    assert!(each < 4096, "{each} bytes a change");

    // What did not change while pilot was away is not sent again.
    pilot.kill();
    envoy.is_connected(false).await;
    cluster.put("shop", "new", "http", &[two.socket()]);
    pilot.spawn();
    pilot.ready().await;
    answers(&envoy, "new", "two").await;
    in_sync(&pilot).await;
    let resources = pushed(&pilot, "pushed_resources", "vhds").await;
    assert!((1..20).contains(&resources), "{resources} virtual hosts were sent");
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// Clients of several namespaces at one pilot. They change nothing of what they ask for when a namespace gets its
/// first name.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_of_each_namespace_get_their_own() {
    let Some(python) = python() else { return };
    let cluster = Cluster::start().await;
    let [shop, bank] = ["shop", "bank"].map(|name| GrpcBackend::start(&python, name));
    cluster.put("shop", "echo", "grpc", &[shop.socket()]);
    let pilot = cluster.pilot().await;
    let client = |namespace: &str| {
        let arguments = within(namespace);
        let arguments = arguments.each_ref().map(String::as_str);
        GrpcClient::start_with(&python, &pilot, &format!("xds:///echo:{PORT}"), &arguments)
    };
    let answered_by = async |client: &mut GrpcClient, expected: &str| {
        until(&format!("{expected} answers"), async || {
            let answer = client.call()?;
            holds(answer == expected, answer)
        })
        .await;
    };
    let mut in_shop = client("shop");
    answered_by(&mut in_shop, "shop").await;
    let mut in_bank = client("bank");
    assert!(in_bank.call().is_err(), "there is no echo in its namespace");
    cluster.put("bank", "echo", "grpc", &[bank.socket()]);
    answered_by(&mut in_bank, "bank").await;
    answered_by(&mut in_shop, "shop").await;
}
