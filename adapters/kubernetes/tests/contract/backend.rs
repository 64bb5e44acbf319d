//! The platform's own side: an API server, and a relay in front of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use pilot_registry::{Hostname, Service, ServiceRegistry};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::kubernetes::KubernetesServer;
use pilot_registry_testkit::{Backend, BadConfig};
use serde_json::json;

use crate::cluster::{Cluster, TOKEN};
use crate::configs;
use crate::objects::{self, place};

/// A fake API server.
pub(crate) struct KubernetesBackend {
    cluster: Cluster,
    services: BTreeMap<Hostname, Arc<Service>>,
    backwards: bool,
}

impl KubernetesBackend {
    pub(crate) async fn new(streaming: bool) -> Result<Self> {
        let cluster = Cluster::start().await?;
        cluster.server.set_streaming(streaming);
        Ok(Self { cluster, services: BTreeMap::new(), backwards: false })
    }

    pub(crate) fn server(&self) -> &KubernetesServer {
        &self.cluster.server
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.cluster.file("kubeconfig")
    }

    fn write(&mut self, service: &Arc<Service>) {
        let new = objects::objects(service, self.backwards);
        let old = self.services.insert(service.host.clone(), Arc::clone(service));
        let kept: Vec<_> = new.iter().map(place).collect();
        for (resource, object) in new {
            self.cluster.server.put(resource, object);
        }
        let old = old.iter().flat_map(|old| objects::objects(old, self.backwards)).rev();
        for (resource, namespace, name) in old.map(|object| place(&object)) {
            if resource != "nodes" && !kept.contains(&(resource, namespace.clone(), name.clone())) {
                self.cluster.server.delete(resource, &namespace, &name);
            }
        }
    }
}

#[async_trait]
impl Backend for KubernetesBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        configs::follow(self.kubeconfig())
    }

    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        objects::as_seen(service)
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
                self.cluster.server.delete(resource, &namespace, &name);
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
        self.cluster.server.put("services", json!({ "metadata": metadata, "spec": { "ports": "eighty" } }));
        Ok(())
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        self.cluster.server.delete("services", "default", entry);
        Ok(())
    }

    fn relays(&self) -> &[Relay] {
        std::slice::from_ref(&self.cluster.relay)
    }

    async fn lose_history(&mut self) -> Result<()> {
        self.cluster.server.compact();
        Ok(())
    }

    async fn revoke(&mut self) -> Result<()> {
        self.cluster.server.set_locked(true);
        Ok(())
    }

    async fn restore(&mut self) -> Result<()> {
        self.cluster.server.set_locked(false);
        Ok(())
    }

    async fn garble(&mut self) -> Result<()> {
        self.cluster.server.set_garbled(true);
        Ok(())
    }

    async fn mend(&mut self) -> Result<()> {
        self.cluster.server.set_garbled(false);
        Ok(())
    }

    async fn stall(&mut self) -> Result<()> {
        self.cluster.server.set_stalled(true);
        Ok(())
    }

    async fn stalled(&mut self) -> Result<()> {
        self.cluster.server.stalled().await;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        self.cluster.server.set_stalled(false);
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        configs::views(self.kubeconfig())
    }
}
