//! A real etcd as its operator has it in hand.
//!
//! ```text
//!  registry ──► relay ──► gate ──► etcd        one of each for every node
//!               (outages)  (nonsense, stalls)
//!  operator ─────────────────────► etcd        never kept out
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pilot_registry::{Hostname, Service, ServiceRegistry, async_trait};
use pilot_registry_etcd::{Config, registry};
use pilot_registry_testkit::server::etcd::{EtcdCluster, EtcdOptions, PASSWORD, ROOT, ROOT_PASSWORD, USER};
use pilot_registry_testkit::server::{Gate, Relay, Spoiling};
use pilot_registry_testkit::{Backend, BadConfig};

use crate::writer::{PREFIX, Writer};

/// A web server's answer; all of a connection's beginning, and a part of the first page.
const SPOILING: Spoiling<'static> = Spoiling {
    nonsense: b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n",
    certificate: None,
    stall_after: 8 << 10,
};

pub(crate) struct EtcdBackend {
    cluster: EtcdCluster,
    gates: Vec<Gate>,
    relays: Vec<Relay>,
    writer: Writer,
    services: BTreeMap<Hostname, Arc<Service>>,
    backwards: bool,
}

impl EtcdBackend {
    pub(crate) async fn new(nodes: usize) -> Result<Option<Self>> {
        // Passwords cheap to compare: the tests log in often.
        let options = EtcdOptions {
            nodes,
            auth: true,
            arguments: vec!["--bcrypt-cost=4".into()],
            ..Default::default()
        };
        let Some(cluster) = EtcdCluster::with(options).await? else { return Ok(None) };
        let (mut gates, mut relays) = (Vec::new(), Vec::new());
        for n in 0..nodes {
            let gate = Gate::to(cluster.address(n), SPOILING).await?;
            relays.push(Relay::to(gate.address()).await?);
            gates.push(gate);
        }
        let writer = Writer::connect(&cluster.endpoints()[..1], Some((ROOT, ROOT_PASSWORD))).await?;
        Ok(Some(Self { cluster, gates, relays, writer, services: BTreeMap::new(), backwards: false }))
    }

    pub(crate) fn client(&self) -> etcd_client::Client {
        self.writer.client()
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.relays.iter().map(|relay| self.cluster.url(relay.address())));
        config.user = Some(USER.to_owned());
        config.password = Some(PASSWORD.to_owned().into());
        // Several pages even of a small list.
        config.page_size = 100;
        // The machine may be loaded, and no rule is about time.
        config.timeout = Duration::from_secs(20);
        config
    }
}

fn refusal(change: impl FnOnce(&mut Config)) -> Result<(), String> {
    let mut config = Config::new(["http://127.0.0.1:2379"]);
    change(&mut config);
    registry(config).map(drop).map_err(|error| error.to_string())
}

#[async_trait]
impl Backend for EtcdBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        Box::new(registry(self.config()).expect("the configuration makes sense"))
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        vec![
            BadConfig {
                wrong: "no endpoint",
                mentions: &["endpoints", "http://127.0.0.1:2379"],
                outcome: refusal(|config| config.endpoints.clear()),
            },
            BadConfig {
                wrong: "an endpoint without port",
                mentions: &["endpoints", "http:// or https://"],
                outcome: refusal(|config| config.endpoints = vec!["http://etcd".into()]),
            },
            BadConfig {
                wrong: "a user without password",
                mentions: &["user", "password, password_file, password_env"],
                outcome: refusal(|config| config.user = Some("pilot".into())),
            },
        ]
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        let old = self.services.insert(service.host.clone(), Arc::new(service.clone()));
        let before = old.map_or(0, |old| old.endpoints.len());
        self.writer.put(service, before, self.backwards).await
    }

    async fn put_all(&mut self, services: &[Arc<Service>]) -> Result<()> {
        self.services.extend(services.iter().map(|service| (service.host.clone(), Arc::clone(service))));
        self.writer.put_all(services.iter().map(|service| &**service)).await
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        self.services.remove(host);
        self.writer.delete(host).await
    }

    async fn rewrite(&mut self) -> Result<()> {
        self.backwards = !self.backwards;
        for service in self.services.values() {
            self.writer.put(service, service.endpoints.len(), self.backwards).await?;
        }
        Ok(())
    }

    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        let value = r#"{"ports": [{"number": 0, "protocol": "htp"}]}"#;
        self.writer.client().put(format!("{PREFIX}/v1/services/{entry}"), value, None).await?;
        Ok(())
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        self.writer.client().delete(format!("{PREFIX}/v1/services/{entry}"), None).await?;
        Ok(())
    }

    fn relays(&self) -> &[Relay] {
        &self.relays
    }

    fn gates(&self) -> &[Gate] {
        &self.gates
    }

    async fn lose_history(&mut self) -> Result<()> {
        self.cluster.compact().await
    }

    async fn revoke(&mut self) -> Result<()> {
        self.cluster.revoke().await
    }

    async fn restore(&mut self) -> Result<()> {
        self.cluster.restore().await
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        vec![format!("{:?}", self.config()), format!("{:?}", registry(self.config()))]
    }
}
