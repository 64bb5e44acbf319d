//! Documents of rules in a cluster: whether they are installed, and in which version.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;

use std::sync::Arc;

use pilot_registry::{RegistryHealth, Texts};
use pilot_registry_kubernetes::{RulesConfig, rules};
use pilot_registry_testkit::Runner;
use serde_json::{Value, json};

use cluster::Cluster;

const VERSIONS: [&str; 3] =
    ["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"];

fn follow(cluster: &Cluster, config: RulesConfig) -> Runner<Texts> {
    let config = RulesConfig { kubeconfig: Some(cluster.file("kubeconfig")), ..config };
    Runner::of_rules(Arc::new(rules(&config).unwrap()))
}

fn document(version: &str, namespace: &str, name: &str) -> Value {
    let metadata =
        json!({ "name": name, "namespace": namespace, "creationTimestamp": "2026-01-02T03:04:05Z" });
    json!({ "apiVersion": version, "kind": "VirtualService", "metadata": metadata, "spec": { "hosts": ["a.local"] } })
}

/// Waits until the store is live and has documents at these places.
async fn has(runner: &mut Runner<Texts>, places: &[&str]) -> Arc<Texts> {
    let what = format!("{places:?}");
    let seen = runner.until(&what, |state| {
        let is_live = matches!(state.health(), RegistryHealth::Live);
        let value = &state.published.as_ref()?.value;
        let is_it = value.iter().map(|(place, _)| &**place).eq(places.iter().copied());
        (is_live && is_it).then(|| Arc::clone(value))
    });
    seen.await.unwrap()
}

#[tokio::test]
async fn a_cluster_without_these_resources_has_no_documents_until_they_are_installed() {
    let cluster = Cluster::start().await.unwrap();
    let mut runner = follow(&cluster, RulesConfig::default());
    has(&mut runner, &[]).await;
    cluster.server.set_custom("virtualservices", &VERSIONS);
    cluster.server.put("virtualservices", document(VERSIONS[0], "apps", "a"));
    has(&mut runner, &["VirtualService/apps/a"]).await;
    // Uninstalled, its objects are gone with it.
    cluster.server.set_custom("virtualservices", &[]);
    has(&mut runner, &[]).await;
}

#[tokio::test]
async fn of_several_versions_the_newest_is_asked_and_all_are_one_schema() {
    for (installed, asked) in
        [(&VERSIONS[..], VERSIONS[0]), (&VERSIONS[1..], VERSIONS[1]), (&VERSIONS[2..], VERSIONS[2])]
    {
        let cluster = Cluster::start().await.unwrap();
        cluster.server.set_custom("virtualservices", installed);
        cluster.server.put("virtualservices", document(asked, "apps", "a"));
        let texts = has(&mut follow(&cluster, RulesConfig::default()), &["VirtualService/apps/a"]).await;
        let text: Value = serde_json::from_str(&texts.iter().next().unwrap().1.text).unwrap();
        assert_eq!(text, document(asked, "apps", "a"));
    }
}

#[tokio::test]
async fn the_documents_of_some_namespaces_are_followed() {
    let cluster = Cluster::start().await.unwrap();
    cluster.server.set_custom("virtualservices", &VERSIONS);
    for namespace in ["apps", "shop", "web"] {
        cluster.server.put("virtualservices", document(VERSIONS[0], namespace, "a"));
    }
    let namespaces = vec!["web".to_owned(), "apps".to_owned()];
    let mut runner = follow(&cluster, RulesConfig { namespaces, ..RulesConfig::default() });
    has(&mut runner, &["VirtualService/apps/a", "VirtualService/web/a"]).await;
    cluster.server.put("virtualservices", document(VERSIONS[0], "shop", "b"));
    cluster.server.put("virtualservices", document(VERSIONS[0], "web", "b"));
    has(&mut runner, &["VirtualService/apps/a", "VirtualService/web/a", "VirtualService/web/b"]).await;
}

#[tokio::test]
async fn what_may_not_be_listed_is_not_taken_for_nothing() {
    let cluster = Cluster::start().await.unwrap();
    cluster.server.set_custom("virtualservices", &VERSIONS);
    cluster.server.put("virtualservices", document(VERSIONS[0], "apps", "a"));
    let mut runner = follow(&cluster, RulesConfig::default());
    has(&mut runner, &["VirtualService/apps/a"]).await;
    cluster.server.set_forbidden("virtualservices", true);
    cluster.server.end_watches();
    let error = runner.degraded().await.unwrap().error;
    assert!(error.chain().contains("virtualservices"), "{}", error.chain());
    assert_eq!(runner.feed().published().unwrap().value.len(), 1);
    cluster.server.set_forbidden("virtualservices", false);
    has(&mut runner, &["VirtualService/apps/a"]).await;
}
