//! A fake cluster with a kubeconfig, for tests of single rules.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;

use anyhow::Result;
use pilot_registry_kubernetes::{Config, registry};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::kubernetes::{KubernetesServer, kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the server asks for.
pub(crate) const TOKEN: &str = "open-sesame-8841";

/// An API server, a relay to it, and a kubeconfig that leads there.
pub(crate) struct Cluster {
    pub(crate) server: KubernetesServer,
    pub(crate) relay: Relay,
    folder: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Self> {
        let server = KubernetesServer::start(TOKEN).await?;
        let relay = Relay::to(server.address()).await?;
        let cluster = Self { server, relay, folder: tempfile::tempdir()? };
        cluster.write_kubeconfig(&json!({ "token": TOKEN }))?;
        Ok(cluster)
    }

    /// A file in the folder of the kubeconfig.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The kubeconfig, with these credentials.
    pub(crate) fn write_kubeconfig(&self, user: &Value) -> Result<()> {
        self.write_kubeconfig_of(&json!({ "server": format!("http://{}", self.relay.address()) }), user)
    }

    /// The same, of a server that is reached in another way.
    pub(crate) fn write_kubeconfig_of(&self, cluster: &Value, user: &Value) -> Result<()> {
        Ok(std::fs::write(self.file("kubeconfig"), kubeconfig(cluster, user).to_string())?)
    }

    pub(crate) fn config(&self) -> Config {
        Config { kubeconfig: Some(self.file("kubeconfig")), ..Config::default() }
    }

    /// Follows it.
    pub(crate) fn run(&self, config: Config) -> Runner {
        Runner::start(std::sync::Arc::new(registry(config).unwrap()))
    }

    /// A service with one port and endpoints at these addresses, with a pod each.
    pub(crate) fn serve(&self, namespace: &str, name: &str, addresses: &[&str]) {
        let named = |name: &str| json!({ "namespace": namespace, "name": name });
        let member = |address: &&str| {
            let pod = pod_name(name, address);
            json!({
                "addresses": [address], "nodeName": "node-1", "conditions": { "ready": true },
                "targetRef": { "kind": "Pod", "namespace": namespace, "name": pod },
            })
        };
        let members: Vec<Value> = addresses.iter().map(member).collect();
        let mut metadata = named(&format!("{name}-1"));
        metadata["labels"] = json!({ "kubernetes.io/service-name": name });
        let slice = json!({
            "metadata": metadata, "addressType": "IPv4", "endpoints": members,
            "ports": [{ "name": "http", "port": 8080 }],
        });
        self.server.put("endpointslices", slice);
        let ports = json!([{ "port": 80, "name": "http" }]);
        self.server.put("services", json!({ "metadata": named(name), "spec": { "ports": ports } }));
    }

    /// The pod of such an endpoint.
    pub(crate) fn pod(&self, namespace: &str, service: &str, address: &str, labels: &Value) {
        let name = pod_name(service, address);
        let metadata = json!({ "namespace": namespace, "name": name, "labels": labels });
        self.server.put("pods", json!({ "metadata": metadata, "spec": { "serviceAccountName": service } }));
    }

    pub(crate) fn node(&self, name: &str, region: &str) {
        let labels = json!({ "topology.kubernetes.io/region": region });
        self.server.put("nodes", json!({ "metadata": { "name": name, "labels": labels } }));
    }

    pub(crate) fn asked(&self, what: &str) -> usize {
        self.server.requests().get(what).copied().unwrap_or_default()
    }
}

/// The name of the pod of that endpoint.
pub(crate) fn pod_name(service: &str, address: &str) -> String {
    format!("{service}-{}", address.replace('.', "-"))
}
