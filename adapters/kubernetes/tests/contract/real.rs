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
use pilot_registry_testkit::server::kubernetes::KubeApiServer;
use pilot_registry_testkit::server::{Gate, Relay, Spoiling};
use pilot_registry_testkit::{Backend, BadConfig};
use serde_json::json;
use tempfile::TempDir;

use crate::configs;
use crate::objects;
use crate::permissions::{self, Account};
use crate::writer::{Writer, admitted};

/// A web server's answer, from somebody with the server's own certificate; the connection's beginning, a refusal
/// to stream, and a part of the first page.
const SPOILING: Spoiling<'static> = Spoiling {
    nonsense:
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 24\r\n\r\n<html>Welcome to Wi-Fi</\n",
    certificate: None,
    stall_after: 32 << 10,
};

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
        let gate =
            Gate::to(server.address(), Spoiling { certificate: Some(server.certificate()), ..SPOILING })
                .await?;
        let relay = Relay::to(gate.address()).await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = server.kubeconfig(relay.address(), account.token());
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
        Ok(Some(Self { relay, gate, account, writer: Writer::default(), folder, server }))
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

#[async_trait]
impl Backend for RealBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        configs::follow(self.kubeconfig())
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

    fn relays(&self) -> &[Relay] {
        std::slice::from_ref(&self.relay)
    }

    fn gates(&self) -> &[Gate] {
        std::slice::from_ref(&self.gate)
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

    fn secrets(&self) -> Vec<String> {
        vec![self.account.token().to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        configs::views(self.kubeconfig())
    }
}
