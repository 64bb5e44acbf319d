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
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::etcd::{EtcdCluster, EtcdOptions, PASSWORD, ROOT, ROOT_PASSWORD, USER};
use pilot_registry_testkit::{Backend, BadConfig};

use crate::gate::{Gate, Mood};
use crate::writer::{PREFIX, Writer};

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
            let gate = Gate::to(cluster.address(n)).await?;
            relays.push(Relay::to(gate.address()).await?);
            gates.push(gate);
        }
        let writer = Writer::connect(&cluster.endpoints()[..1], Some((ROOT, ROOT_PASSWORD))).await?;
        Ok(Some(Self { cluster, gates, relays, writer, services: BTreeMap::new(), backwards: false }))
    }

    fn config(&self) -> Config {
        let mut config = Config::new(self.relays.iter().map(|relay| self.cluster.url(relay.address())));
        config.user = Some(USER.to_owned());
        config.password = Some(PASSWORD.to_owned().into());
        // Several pages even of a small list.
        config.page_size = 100;
        // The machine may be loaded, and no rule is about time.
        config.timeout = Duration::from_secs(20);
        config
    }

    fn set_mood(&self, mood: Mood) {
        self.gates.iter().for_each(|gate| gate.set(mood));
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

    async fn disconnect(&mut self) -> Result<()> {
        self.relays.iter().for_each(Relay::refuse);
        Ok(())
    }

    async fn reconnect(&mut self) -> Result<()> {
        self.relays.iter().for_each(Relay::open);
        Ok(())
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

    async fn garble(&mut self) -> Result<()> {
        self.set_mood(Mood::Garbled);
        Ok(())
    }

    async fn mend(&mut self) -> Result<()> {
        self.set_mood(Mood::Fair);
        Ok(())
    }

    async fn stall(&mut self) -> Result<()> {
        self.set_mood(Mood::Stalling);
        Ok(())
    }

    async fn stalled(&mut self) -> Result<()> {
        // The first attempt asks the first node.
        self.gates[0].stalled().await;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        self.set_mood(Mood::Fair);
        Ok(())
    }

    async fn connections(&self) -> Result<usize> {
        Ok(self.relays.iter().map(Relay::connections).sum())
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        vec![format!("{:?}", self.config()), format!("{:?}", registry(self.config()))]
    }
}
