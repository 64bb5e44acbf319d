//! A real Consul with access control, behind a relay that cuts it off.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use pilot_registry::{Hostname, Service, ServiceRegistry, async_trait};
use pilot_registry_consul::{Config, registry};
use pilot_registry_testkit::server::consul::{Consul, Options};
use pilot_registry_testkit::server::{Gate, Relay, Spoiling};
use pilot_registry_testkit::{Backend, BadConfig, Operation};
use serde_json::{Value, json};

use crate::catalog::{self, Instance, TOKEN};

const POLICY: &str = r#"
    service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } key_prefix "pilot/rules/" { policy = "read" }
"#;

/// A web server's answer; the pulse, and a part of the first list.
const SPOILING: Spoiling<'static> = Spoiling {
    nonsense: b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n",
    certificate: None,
    stall_after: 8 << 10,
};

/// Asks for the token in the order in which an operator would.
pub(crate) struct RealBackend {
    consul: Consul,
    relay: Relay,
    services: BTreeMap<Hostname, Arc<Service>>,
    malformed: Vec<String>,
    /// Keys with documents of rules, and their values.
    documents: BTreeMap<String, Vec<u8>>,
    /// Before the relay, where what the server says is spoiled on its way.
    gates: Vec<Gate>,
    revoked: bool,
}

impl RealBackend {
    pub(crate) async fn new() -> Result<Option<Self>> {
        let Some(consul) = Consul::start(Options { acl: true, ..Options::default() }).await? else {
            return Ok(None);
        };
        let relay = Relay::to(consul.address()).await?;
        let services = BTreeMap::new();
        let (documents, gates) = (BTreeMap::new(), Vec::new());
        let backend =
            Self { consul, relay, services, malformed: Vec::new(), documents, gates, revoked: false };
        backend.admit().await?;
        Ok(Some(backend))
    }

    /// The same, behind a gate.
    pub(crate) async fn gated() -> Result<Option<Self>> {
        let Some(mut backend) = Self::new().await? else { return Ok(None) };
        let gate = Gate::to(backend.consul.address(), SPOILING).await?;
        backend.relay = Relay::to(gate.address()).await?;
        backend.gates.push(gate);
        Ok(Some(backend))
    }

    /// Writes a key, or takes it away.
    pub(crate) async fn write_document(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        let (method, body) = match value {
            Some(value) => {
                self.documents.insert(key.to_owned(), value.to_owned());
                (http::Method::PUT, bytes::Bytes::copy_from_slice(value))
            }
            None => {
                self.documents.remove(key);
                (http::Method::DELETE, bytes::Bytes::new())
            }
        };
        let (status, said) = self.consul.admin().request(method, &format!("/v1/kv/{key}"), body).await?;
        ensure!(status == http::StatusCode::OK, "{key}: {status}: {}", String::from_utf8_lossy(&said));
        Ok(())
    }

    pub(crate) fn config(&self) -> Config {
        catalog::config(format!("http://{}", self.relay.address()))
    }

    async fn admit(&self) -> Result<()> {
        let admin = self.consul.admin();
        let policies: Value = admin.get("/v1/acl/policies").await?;
        if !policies.as_array().into_iter().flatten().any(|policy| policy["Name"] == "read-all") {
            admin.put("/v1/acl/policy", &json!({ "Name": "read-all", "Rules": POLICY })).await?;
        }
        let token = json!({
            "AccessorID": TOKEN.replace('8', "9"), "SecretID": TOKEN, "Policies": [{ "Name": "read-all" }],
        });
        admin.put("/v1/acl/token", &token).await.map(drop)
    }

    /// Takes away what the service had and writes what it has, in one go where that is small enough.
    async fn write(&self, before: &[Instance], after: &[Instance]) -> Result<()> {
        self.consul.admin().transact(&operations(before, after)).await
    }

    async fn write_all(&mut self) -> Result<()> {
        for service in self.services.values() {
            self.write(&[], &catalog::instances(service, false)).await?;
        }
        for entry in &self.malformed {
            self.write(&[], &[malformed(entry)]).await?;
        }
        for (key, value) in self.documents.clone() {
            self.write_document(&key, Some(&value)).await?;
        }
        Ok(())
    }

    fn written(&self, host: &Hostname) -> Vec<Instance> {
        self.services.get(host).map(|service| catalog::instances(service, false)).unwrap_or_default()
    }
}

fn node(service: &str) -> String {
    format!("node-of-{service}")
}

fn operations(before: &[Instance], after: &[Instance]) -> Vec<Value> {
    let gone = before.iter().map(|one| {
        let service = json!({ "ID": one.id, "Service": one.service });
        json!({ "Service": { "Verb": "delete", "Node": node(&one.service), "Service": service } })
    });
    let nodes = after.first().map(|one| {
        let node = json!({ "Node": node(&one.service), "Address": "10.254.0.1" });
        json!({ "Node": { "Verb": "set", "Node": node } })
    });
    let set = after.iter().flat_map(|one| {
        let service = json!({
            "ID": one.id, "Service": one.service, "Address": one.address, "Port": one.port,
            "Meta": one.meta, "Weights": { "Passing": one.weight, "Warning": one.weight },
        });
        let set = json!({ "Verb": "set", "Node": node(&one.service), "Service": service });
        let check = one.check.as_ref().map(|(id, status)| {
            let check = json!({
                "Node": node(&one.service), "CheckID": id, "Name": id, "Status": status,
                "ServiceID": one.id, "ServiceName": one.service,
            });
            json!({ "Check": { "Verb": "set", "Check": check } })
        });
        std::iter::once(json!({ "Service": set })).chain(check)
    });
    gone.chain(nodes).chain(set).collect()
}

fn malformed(entry: &str) -> Instance {
    Instance {
        id: format!("{entry}-1"),
        service: entry.to_owned(),
        address: "this is no address".to_owned(),
        socket: None,
        port: 80,
        meta: serde_json::Map::new(),
        weight: 1,
        check: None,
    }
}

#[async_trait]
impl Backend for RealBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        Box::new(registry(self.config()).expect("the configuration makes sense"))
    }

    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        catalog::as_seen(service, false)
    }

    fn lacks(&self, operation: Operation) -> Option<&'static str> {
        match operation {
            _ if !self.gates.is_empty() => None,
            Operation::Garble => Some("a real server makes sense"),
            Operation::Stall => Some("a real server sends its answers whole"),
            _ => None,
        }
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        let unknown = catalog::refusal("{\n\"addres\": \"http://127.0.0.1\"}");
        let half = r#"{"address": "https://c", "tls": {"ca": "ca.pem", "cert": "c.pem"}}"#;
        vec![
            BadConfig { wrong: "an unknown key", mentions: &["line 2", "addres"], outcome: unknown },
            BadConfig {
                wrong: "half an address",
                mentions: &["address", "https://host:port", "unix:///path"],
                outcome: catalog::refusal(r#"{"address": "consul.local"}"#),
            },
            BadConfig {
                wrong: "an unknown consistency",
                mentions: &["stal", "default", "stale", "consistent"],
                outcome: catalog::refusal(r#"{"consistency": "stal"}"#),
            },
            BadConfig {
                wrong: "a certificate without a key",
                mentions: &["tls.key"],
                outcome: catalog::refusal(half),
            },
        ]
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        let (before, after) = (self.written(&service.host), catalog::instances(service, false));
        self.services.insert(service.host.clone(), Arc::new(service.clone()));
        self.write(&before, &after).await
    }

    async fn put_all(&mut self, services: &[Arc<Service>]) -> Result<()> {
        let mut all = Vec::new();
        for service in services {
            let before = self.written(&service.host);
            all.extend(operations(&before, &catalog::instances(service, false)));
            self.services.insert(service.host.clone(), Arc::clone(service));
        }
        self.consul.admin().transact(&all).await
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        let before = self.written(host);
        self.services.remove(host);
        self.write(&before, &[]).await
    }

    async fn rewrite(&mut self) -> Result<()> {
        for service in self.services.values() {
            let mut instances = catalog::instances(service, false);
            instances.reverse();
            self.write(&[], &instances).await?;
        }
        Ok(())
    }

    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        self.malformed.push(entry.to_owned());
        self.write(&[], &[malformed(entry)]).await
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        self.malformed.retain(|other| other != entry);
        self.write(&[malformed(entry)], &[]).await
    }

    fn relays(&self) -> &[Relay] {
        std::slice::from_ref(&self.relay)
    }

    fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// A new cluster in the place of the old one, in which all is written again: its indexes are smaller.
    async fn lose_history(&mut self) -> Result<()> {
        self.consul.wipe().await?;
        // What is half written is for nobody to read: the token comes last.
        self.write_all().await?;
        if self.revoked { Ok(()) } else { self.admit().await }
    }

    async fn revoke(&mut self) -> Result<()> {
        self.revoked = true;
        let path = format!("/v1/acl/token/{}", TOKEN.replace('8', "9"));
        let admin = self.consul.admin();
        admin.request(http::Method::DELETE, &path, bytes::Bytes::new()).await.map(drop)
    }

    async fn restore(&mut self) -> Result<()> {
        self.revoked = false;
        self.admit().await
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        let registry = registry(self.config()).expect("the configuration makes sense");
        vec![format!("{registry:?}"), format!("{:?}", self.config())]
    }
}
