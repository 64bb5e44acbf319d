//! A Consul in this process, which can do what a healthy server does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use pilot_registry::{Hostname, Service, ServiceRegistry, async_trait};
use pilot_registry_consul::{Config, Limits, registry};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::consul::{FakeConsul, Mood, Profile};
use pilot_registry_testkit::{Backend, BadConfig};
use serde_json::{Value, json};

use crate::catalog::{self, Instance, TOKEN};

pub(crate) struct FakeBackend {
    consul: FakeConsul,
    relay: Relay,
    services: BTreeMap<Hostname, Arc<Service>>,
    /// How many services may have a long poll each.
    max_polls: usize,
}

impl FakeBackend {
    pub(crate) async fn new(profile: Profile, max_polls: usize) -> Result<Self> {
        let consul = FakeConsul::with(profile, Some(TOKEN)).await?;
        let relay = Relay::to(consul.address()).await?;
        Ok(Self { consul, relay, services: BTreeMap::new(), max_polls })
    }

    fn config(&self) -> Config {
        let config = catalog::config(format!("http://{}", self.relay.address()));
        Config { limits: Limits { max_polls: self.max_polls, ..config.limits }, ..config }
    }
}

/// As `/v1/health/service/NAME` has it.
fn entry(one: &Instance) -> Value {
    let node = format!("node-of-{}", one.service);
    let check = one.check.as_ref().map(|(id, status)| {
        json!({ "Node": node, "CheckID": id, "Name": id, "Status": status, "ServiceID": one.id,
                "ServiceName": one.service })
    });
    json!({
        "Node": { "Node": node, "Address": "10.254.0.1", "Datacenter": "dc1", "Meta": null },
        "Service": {
            "ID": one.id, "Service": one.service, "Tags": [], "Address": one.address, "Port": one.port,
            "SocketPath": one.socket.as_deref().unwrap_or_default(), "Meta": one.meta,
            "Weights": { "Passing": one.weight, "Warning": one.weight },
        },
        "Checks": check.into_iter().collect::<Vec<_>>(),
    })
}

fn entries(service: &Service) -> Vec<Value> {
    catalog::instances(service, true).iter().map(entry).collect()
}

#[async_trait]
impl Backend for FakeBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        Box::new(registry(self.config()).expect("the configuration makes sense"))
    }

    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        catalog::as_seen(service, true)
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        let outcome = catalog::refusal(r#"{"limits": {"max_polls": 0}}"#);
        let mentions = &["limits.max_polls", "1 to 10000"];
        vec![BadConfig { wrong: "no polls", mentions, outcome }]
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        self.services.insert(service.host.clone(), Arc::new(service.clone()));
        self.consul.put(&catalog::name(&service.host), &entries(service));
        Ok(())
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        self.services.remove(host);
        self.consul.remove(&catalog::name(host));
        Ok(())
    }

    async fn rewrite(&mut self) -> Result<()> {
        for service in self.services.values().rev() {
            let mut entries = entries(service);
            entries.reverse();
            self.consul.put(&catalog::name(&service.host), &entries);
        }
        Ok(())
    }

    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        let wrong = json!({ "Node": { "Node": "n" }, "Service": { "Service": entry, "Port": "eighty" } });
        self.consul.put(entry, &[wrong]);
        Ok(())
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        self.consul.remove(entry);
        Ok(())
    }

    fn relays(&self) -> &[Relay] {
        std::slice::from_ref(&self.relay)
    }

    async fn lose_history(&mut self) -> Result<()> {
        self.consul.restore_snapshot(7);
        Ok(())
    }

    async fn revoke(&mut self) -> Result<()> {
        self.consul.revoke(true);
        Ok(())
    }

    async fn restore(&mut self) -> Result<()> {
        self.consul.revoke(false);
        Ok(())
    }

    async fn garble(&mut self) -> Result<()> {
        self.consul.behave(Mood::Garbled);
        Ok(())
    }

    async fn mend(&mut self) -> Result<()> {
        self.consul.behave(Mood::Sane);
        Ok(())
    }

    async fn stall(&mut self) -> Result<()> {
        self.consul.stall();
        Ok(())
    }

    async fn stalled(&mut self) -> Result<()> {
        self.consul.stalled().await;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        self.consul.resume();
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        let registry = registry(self.config()).expect("the configuration makes sense");
        vec![format!("{registry:?}"), format!("{:?}", self.config())]
    }
}
