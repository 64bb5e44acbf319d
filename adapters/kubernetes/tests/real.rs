//! What only a real API server can show: that it takes the example's manifests, that their permissions are
//! enough and needed, and what it does with credentials and history that are gone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/permissions.rs"]
mod permissions;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use permissions::{Account, READ, VERBS};
use pilot_registry::{ErrorKind, RegistryHealth, Snapshot, State};
use pilot_registry_kubernetes::{Config, registry};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::kubernetes::KubeApiServer;
use serde_json::{Value, json};
use tempfile::TempDir;

const OWN: &str = "kubernetes.default.svc.cluster.local";
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/pilot";

/// A server, and pilot's account there.
struct Cluster {
    account: Account,
    folder: TempDir,
    server: KubeApiServer,
}

impl Cluster {
    async fn start(arguments: &[&str]) -> Result<Option<Self>> {
        let Some(server) = KubeApiServer::start(arguments).await? else { return Ok(None) };
        let account = Account::create(&server).await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = server.kubeconfig(server.address(), account.token());
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
        Ok(Some(Self { account, folder, server }))
    }

    fn run(&self, watch_renewal: Duration) -> Runner {
        let kubeconfig = Some(self.folder.path().join("kubeconfig"));
        Runner::start(Arc::new(registry(Config { kubeconfig, watch_renewal, ..Config::default() }).unwrap()))
    }

    /// A service without endpoints.
    async fn serve(&self, name: &str) -> Result<()> {
        let service = json!({ "metadata": { "name": name }, "spec": { "ports": [{ "port": 80 }] } });
        self.server.admin().post("/api/v1/namespaces/default/services", &service).await.map(drop)
    }

    /// Gives pilot all permissions but one.
    async fn permit_all_but(&self, missing: Option<(&str, &str)>) -> Result<()> {
        let rule = |(group, resource): (&str, &str)| {
            let given = VERBS.into_iter().filter(|verb| missing != Some((*verb, resource)));
            json!({ "apiGroups": [group], "resources": [resource], "verbs": given.collect::<Vec<_>>() })
        };
        let rules: Vec<Value> =
            READ.into_iter().map(rule).filter(|rule| rule["verbs"] != json!([])).collect();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "pilot" }, "rules": rules,
        });
        self.server.admin().put(ROLE, &role).await.map(drop)
    }
}

fn live_with(host: &str) -> impl Fn(&State<Snapshot>) -> Option<()> {
    move |state| {
        let found = state.published.as_ref()?.value.get(host).is_some();
        (found && matches!(state.health(), RegistryHealth::Live)).then_some(())
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_example_is_accepted_and_its_permissions_are_enough() -> Result<()> {
    let Some(cluster) = Cluster::start(&[]).await? else { return Ok(()) };
    for (kind, collection) in [
        ("ConfigMap", "/api/v1/namespaces/pilot/configmaps"),
        ("Deployment", "/apis/apps/v1/namespaces/pilot/deployments"),
        ("Service", "/api/v1/namespaces/pilot/services"),
        ("PodDisruptionBudget", "/apis/policy/v1/namespaces/pilot/poddisruptionbudgets"),
    ] {
        cluster.server.admin().post_yaml(collection, &permissions::manifest(kind)?).await?;
    }
    // These, and those of the account.
    assert_eq!(permissions::manifests()?.len(), 8, "a manifest was not tried");
    let mut runner = cluster.run(MINUTE);
    runner.until("pilot's own service", live_with("pilot.pilot.svc.cluster.local")).await?;
    runner.until("the server's own service", live_with(OWN)).await
}

#[tokio::test]
async fn a_missing_permission_is_reported_by_verb_and_resource() -> Result<()> {
    // A server that streams lists is never asked to list.
    let Some(cluster) = Cluster::start(&["--feature-gates=WatchList=false"]).await? else { return Ok(()) };
    for (group, resource) in READ {
        for verb in VERBS {
            cluster.permit_all_but(Some((verb, resource))).await?;
            cluster.account.until(false, verb, group, resource).await?;
            let mut runner = cluster.run(MINUTE);
            let error = runner.degraded().await?.error;
            assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
            let named = error.chain().contains(&format!("{verb} {resource}: 403"));
            ensure!(named, "without {verb} {resource}: {}", error.chain());
            let optional = ["nodes", "pods"].contains(&resource);
            if optional {
                let published = |state: &State<Snapshot>| state.published.is_some().then_some(());
                runner.until("what can be read", published).await?;
            }
            ensure!(runner.feed().published().is_some() == optional, "without {verb} {resource}");
            cluster.permit_all_but(None).await?;
            cluster.account.until(true, verb, group, resource).await?;
            runner.until("the permission to be noticed", live_with(OWN)).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_deleted_is_denied() -> Result<()> {
    let Some(cluster) = Cluster::start(&[]).await? else { return Ok(()) };
    cluster.server.admin().delete("/api/v1/namespaces/pilot/serviceaccounts/pilot").await?;
    cluster.account.until_unknown().await?;
    let mut runner = cluster.run(MINUTE);
    let error = runner.degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
    ensure!(error.chain().contains("401"), "{}", error.chain());
    Ok(())
}

/// Without a watch cache, versions are those of etcd: a watch that is renewed after a compaction expires.
#[tokio::test]
async fn a_compaction_is_listed_anew_in_place() -> Result<()> {
    let Some(cluster) = Cluster::start(&["--watch-cache=false"]).await? else { return Ok(()) };
    let mut runner = cluster.run(Duration::from_secs(2));
    runner.until("the server's own service", live_with(OWN)).await?;
    // What happens meanwhile has no version that the watches of the others know.
    for n in 0..3 {
        cluster
            .server
            .admin()
            .post("/api/v1/namespaces", &json!({ "metadata": { "name": format!("n{n}") } }))
            .await?;
    }
    cluster.server.compact().await?;
    let trouble = runner.degraded().await?;
    ensure!(trouble.error.chain().contains("the history is lost"), "{}", trouble.error.chain());
    cluster.serve("late").await?;
    runner.until("a service that came later", live_with("late.default.svc.cluster.local")).await
}
