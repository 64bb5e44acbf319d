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

/// What pilot lists.
const LISTS: [&str; 4] =
    ["/api/v1/services", "/api/v1/pods", "/api/v1/nodes", "/apis/discovery.k8s.io/v1/endpointslices"];

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
        self.until(|status| status.is_success()).await
    }

    pub(crate) async fn until_refused(&self) -> Result<()> {
        self.until(|status| status == StatusCode::FORBIDDEN).await
    }

    pub(crate) async fn until(&self, wanted: impl Fn(StatusCode) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for list in LISTS {
            loop {
                let (status, _) = self.rest.request(Method::GET, &format!("{list}?limit=1"), None).await?;
                if wanted(status) {
                    break;
                }
                ensure!(Instant::now() < deadline, "{list} is still answered with {status}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
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
