//! The platform's own side: an API server, and a relay in front of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use pilot_registry::{Hostname, Service, ServiceRegistry};
use pilot_registry_kubernetes::{Config, registry};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::kubernetes::KubernetesServer;
use pilot_registry_testkit::{Backend, BadConfig, Operation};
use serde_json::json;
use tempfile::TempDir;

use crate::configs;
use crate::objects::{self, TRUST_DOMAIN, place};

const TOKEN: &str = "open-sesame-8841";

/// A fake API server.
pub(crate) struct KubernetesBackend {
    server: KubernetesServer,
    relay: Relay,
    folder: TempDir,
    services: BTreeMap<Hostname, Arc<Service>>,
    backwards: bool,
}

impl KubernetesBackend {
    pub(crate) async fn new(streaming: bool) -> Result<Self> {
        let server = KubernetesServer::start(TOKEN).await?;
        server.set_streaming(streaming);
        let relay = Relay::to(server.address()).await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", relay.address()) } }],
            "users": [{ "name": "test", "user": { "token": TOKEN } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
        Ok(Self { server, relay, folder, services: BTreeMap::new(), backwards: false })
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn config(&self) -> Config {
        Config {
            kubeconfig: Some(self.kubeconfig()),
            trust_domain: TRUST_DOMAIN.to_owned(),
            page_size: 100,
            ..Config::default()
        }
    }

    fn write(&mut self, service: &Arc<Service>) {
        let new = objects::objects(service, self.backwards);
        let old = self.services.insert(service.host.clone(), Arc::clone(service));
        let kept: Vec<_> = new.iter().map(place).collect();
        for (resource, object) in new {
            self.server.put(resource, object);
        }
        let old = old.iter().flat_map(|old| objects::objects(old, self.backwards)).rev();
        for (resource, namespace, name) in old.map(|object| place(&object)) {
            if resource != "nodes" && !kept.contains(&(resource, namespace.clone(), name.clone())) {
                self.server.delete(resource, &namespace, &name);
            }
        }
    }
}

#[async_trait]
impl Backend for KubernetesBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        Box::new(registry(self.config()).expect("the configuration makes sense"))
    }

    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        objects::as_seen(service)
    }

    fn lacks(&self, _: Operation) -> Option<&'static str> {
        None
    }

    /// A service is itself, slices, pods and nodes; those that are gone count, too.
    fn changes_per_put(&self) -> u64 {
        24
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        configs::bad()
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        self.write(&Arc::new(service.clone()));
        Ok(())
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        let old = self.services.remove(host).expect("only what is there is deleted");
        for object in objects::objects(&old, self.backwards).iter().rev() {
            let (resource, namespace, name) = place(object);
            if resource != "nodes" {
                self.server.delete(resource, &namespace, &name);
            }
        }
        Ok(())
    }

    async fn rewrite(&mut self) -> Result<()> {
        self.backwards = !self.backwards;
        for service in self.services.values().rev().cloned().collect::<Vec<_>>() {
            self.write(&service);
        }
        Ok(())
    }

    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        let metadata = json!({ "namespace": "default", "name": entry });
        self.server.put("services", json!({ "metadata": metadata, "spec": { "ports": "eighty" } }));
        Ok(())
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        self.server.delete("services", "default", entry);
        Ok(())
    }

    async fn disconnect(&mut self) -> Result<()> {
        self.relay.refuse();
        Ok(())
    }

    async fn reconnect(&mut self) -> Result<()> {
        self.relay.open();
        Ok(())
    }

    async fn lose_history(&mut self) -> Result<()> {
        self.server.compact();
        Ok(())
    }

    async fn revoke(&mut self) -> Result<()> {
        self.server.set_locked(true);
        Ok(())
    }

    async fn restore(&mut self) -> Result<()> {
        self.server.set_locked(false);
        Ok(())
    }

    async fn garble(&mut self) -> Result<()> {
        self.server.set_garbled(true);
        Ok(())
    }

    async fn mend(&mut self) -> Result<()> {
        self.server.set_garbled(false);
        Ok(())
    }

    async fn stall(&mut self) -> Result<()> {
        self.server.set_stalled(true);
        Ok(())
    }

    async fn stalled(&mut self) -> Result<()> {
        self.server.stalled().await;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        self.server.set_stalled(false);
        Ok(())
    }

    async fn connections(&self) -> Result<usize> {
        Ok(self.relay.connections())
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        let config = self.config();
        vec![format!("{config:?}"), format!("{:?}", registry(config.clone()).expect("it makes sense"))]
    }
}
