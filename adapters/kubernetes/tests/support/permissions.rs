//! Who pilot is in a real cluster: the service account of examples/kubernetes, with the permissions that
//! are written there.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use pilot_registry_testkit::server::kubernetes::{KubeApiServer, Rest};
use serde_json::json;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);
const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

/// Group and resource of what pilot reads.
pub(crate) const READ: [(&str, &str); 4] =
    [("", "nodes"), ("", "pods"), ("", "services"), ("discovery.k8s.io", "endpointslices")];
/// What pilot does with it.
pub(crate) const VERBS: [&str; 2] = ["list", "watch"];

/// pilot, as the cluster knows it.
pub(crate) struct Account {
    token: String,
    rest: Rest,
}

impl Account {
    /// Creates the account and its permissions, and has a token issued.
    pub(crate) async fn create(server: &KubeApiServer) -> Result<Self> {
        for (kind, collection) in [
            ("Namespace", "/api/v1/namespaces"),
            ("ServiceAccount", "/api/v1/namespaces/pilot/serviceaccounts"),
            ("ClusterRole", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
        ] {
            server.admin().post_yaml(collection, &manifest(kind)?).await?;
        }
        bind(server).await?;
        let account = Self::issue(server).await?;
        account.until_permitted().await?;
        Ok(account)
    }

    /// Has another token issued for it.
    pub(crate) async fn issue(server: &KubeApiServer) -> Result<Self> {
        let path = "/api/v1/namespaces/pilot/serviceaccounts/pilot/token";
        let answer = server.admin().post(path, &json!({ "spec": { "expirationSeconds": 3600 } })).await?;
        let token = answer["status"]["token"].as_str().context("an answer without token")?.to_owned();
        let rest = server.rest(&token)?;
        Ok(Self { token, rest })
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The server learns of its own permissions from itself, a moment after they were written.
    pub(crate) async fn until_permitted(&self) -> Result<()> {
        self.until_all(true).await
    }

    pub(crate) async fn until_refused(&self) -> Result<()> {
        self.until_all(false).await
    }

    async fn until_all(&self, allowed: bool) -> Result<()> {
        for (group, resource) in READ {
            for verb in VERBS {
                self.until(allowed, verb, group, resource).await?;
            }
        }
        Ok(())
    }

    /// Waits until it may do that, or may not.
    pub(crate) async fn until(&self, allowed: bool, verb: &str, group: &str, resource: &str) -> Result<()> {
        let attributes = json!({ "verb": verb, "group": group, "resource": resource });
        let review = json!({ "spec": { "resourceAttributes": attributes } });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let deadline = Instant::now() + PATIENCE;
        while self.rest.post(path, &review).await?["status"]["allowed"] != allowed {
            ensure!(Instant::now() < deadline, "{verb} {resource}: allowed is still {}", !allowed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until nobody knows it any more.
    pub(crate) async fn until_unknown(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.rest.request(Method::GET, "/version", None).await?.0 != StatusCode::UNAUTHORIZED {
            ensure!(Instant::now() < deadline, "the token still counts");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Gives the account its permissions.
pub(crate) async fn bind(server: &KubeApiServer) -> Result<()> {
    server.admin().post_yaml(BINDING, &manifest("ClusterRoleBinding")?).await.map(drop)
}

/// Takes them away.
pub(crate) async fn unbind(server: &KubeApiServer) -> Result<()> {
    server.admin().delete(&format!("{BINDING}/pilot")).await
}

/// All documents of the example's manifest.
pub(crate) fn manifests() -> Result<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/kubernetes/pilot.yaml");
    let text = std::fs::read_to_string(path).context(path)?;
    Ok(text.split("\n---\n").map(str::to_owned).collect())
}

/// The first document of that kind.
pub(crate) fn manifest(kind: &str) -> Result<String> {
    let line = format!("kind: {kind}");
    let found = manifests()?.into_iter().find(|document| document.lines().any(|other| other == line));
    found.with_context(|| format!("the example has no {kind}"))
}
