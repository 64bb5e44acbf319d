//! A real API server as its operator has it in hand, with the permissions of examples/kubernetes.
//!
//! ```text
//!  registry ──► relay ──► gate ──► kube-apiserver ──► etcd
//!               (outages)  (nonsense, stalls)
//!  operator ─────────────────────► kube-apiserver          never kept out
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use pilot_registry::{Hostname, Service, ServiceRegistry, async_trait};
use pilot_registry_kubernetes::{Config, registry};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::kubernetes::KubeApiServer;
use pilot_registry_testkit::{Backend, BadConfig};
use serde_json::json;
use tempfile::TempDir;

use crate::configs;
use crate::gate::{Gate, Mood};
use crate::objects::{self, TRUST_DOMAIN};
use crate::permissions::{self, Account};
use crate::writer::{Writer, admitted};

pub(crate) struct RealBackend {
    relay: Relay,
    gate: Gate,
    account: Account,
    writer: Writer,
    folder: TempDir,
    /// The last to be dropped.
    server: KubeApiServer,
}

impl RealBackend {
    pub(crate) async fn new() -> Result<Option<Self>> {
        let Some(server) = KubeApiServer::start(&[]).await? else { return Ok(None) };
        let admin = server.admin();
        admin.post("/api/v1/namespaces", &json!({ "metadata": { "name": "shop" } })).await?;
        // The server's own service is none of the model's.
        let ignored = json!({ "metadata": { "annotations": { "pilot/ignore": "true" } } });
        admin.patch("/api/v1/namespaces/default/services/kubernetes", &ignored).await?;
        let account = Account::create(&server).await?;
        let gate = Gate::to(server.address(), server.certificate()).await?;
        let relay = Relay::to(gate.address()).await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = server.kubeconfig(relay.address(), account.token());
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
        Ok(Some(Self { relay, gate, account, writer: Writer::default(), folder, server }))
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
}

#[async_trait]
impl Backend for RealBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        Box::new(registry(self.config()).expect("the configuration makes sense"))
    }

    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        objects::as_seen(&admitted(service))
    }

    /// A service is itself, slices, pods and nodes; those that are gone, and those that are created anew,
    /// count, too.
    fn changes_per_put(&self) -> u64 {
        36
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        configs::bad()
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        self.writer.put(self.server.admin(), &Arc::new(service.clone())).await
    }

    async fn put_all(&mut self, services: &[Arc<Service>]) -> Result<()> {
        self.writer.create_all(self.server.admin(), services).await
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        self.writer.delete(self.server.admin(), host).await
    }

    async fn rewrite(&mut self) -> Result<()> {
        self.writer.rewrite(self.server.admin()).await
    }

    /// The server refuses what does not parse; it takes a service that nobody could reach.
    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        let metadata = json!({ "namespace": "default", "name": entry });
        let object = ("services", json!({ "metadata": metadata, "spec": { "clusterIP": "None" } }));
        self.writer.put_object(self.server.admin(), object).await
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        let place = ("services", "default".to_owned(), entry.to_owned());
        self.writer.delete_object(self.server.admin(), &place).await
    }

    async fn disconnect(&mut self) -> Result<()> {
        self.relay.refuse();
        Ok(())
    }

    async fn reconnect(&mut self) -> Result<()> {
        self.relay.open();
        Ok(())
    }

    /// etcd forgets, and so does the server's watch cache: with its process.
    async fn lose_history(&mut self) -> Result<()> {
        self.server.compact().await?;
        self.server.restart().await
    }

    async fn revoke(&mut self) -> Result<()> {
        permissions::unbind(&self.server).await?;
        self.account.until_refused().await
    }

    async fn restore(&mut self) -> Result<()> {
        permissions::bind(&self.server).await?;
        self.account.until_permitted().await
    }

    async fn garble(&mut self) -> Result<()> {
        self.gate.set(Mood::Garbled);
        Ok(())
    }

    async fn mend(&mut self) -> Result<()> {
        self.gate.set(Mood::Fair);
        Ok(())
    }

    async fn stall(&mut self) -> Result<()> {
        self.gate.set(Mood::Stalling);
        Ok(())
    }

    async fn stalled(&mut self) -> Result<()> {
        self.gate.stalled().await;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        self.gate.set(Mood::Fair);
        Ok(())
    }

    async fn connections(&self) -> Result<usize> {
        Ok(self.relay.connections())
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.account.token().to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        let config = self.config();
        vec![format!("{config:?}"), format!("{:?}", registry(config.clone()).expect("it makes sense"))]
    }
}
