//! Documents of rules in keys of the same Consul.

use anyhow::Result;
use pilot_registry::{RuleStore, async_trait};
use pilot_registry_consul::{RulesConfig, RulesLimits, rules};
use pilot_registry_testkit::documents::DocumentBackend;
use pilot_registry_testkit::{Backend, BadConfig};

use crate::catalog::TOKEN;
use crate::real::RealBackend;

pub(crate) struct ConsulDocuments(RealBackend);

impl ConsulDocuments {
    pub(crate) async fn new() -> Result<Option<Self>> {
        Ok(RealBackend::gated().await?.map(Self))
    }

    fn config(&self) -> RulesConfig {
        RulesConfig {
            address: self.0.config().address,
            token: Some(TOKEN.to_owned().into()),
            limits: RulesLimits { wait_seconds: 2, ..RulesLimits::default() },
            ..RulesConfig::default()
        }
    }
}

fn refusal(text: &str) -> Result<(), String> {
    let config: RulesConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
    rules(config).map(drop).map_err(|error| error.to_string())
}

#[async_trait]
impl DocumentBackend for ConsulDocuments {
    fn platform(&mut self) -> &mut dyn Backend {
        &mut self.0
    }

    fn store(&self, limit: usize) -> Box<dyn RuleStore> {
        let mut config = self.config();
        config.limits.max_body_bytes = limit;
        Box::new(rules(config).expect("the configuration makes sense"))
    }

    fn place(&self, name: &str) -> String {
        format!("pilot/rules/{name}")
    }

    fn has_ages(&self) -> bool {
        true
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        vec![
            BadConfig {
                wrong: "a key of the registry",
                mentions: &["line 2", "datacenters", "datacenter"],
                outcome: refusal("{\n\"datacenters\": []}"),
            },
            BadConfig {
                wrong: "half an address",
                mentions: &["address", "https://host:port"],
                outcome: refusal(r#"{"address": "consul.local"}"#),
            },
            BadConfig {
                wrong: "a prefix that begins with a slash",
                mentions: &["prefix", "without a slash at its ends"],
                outcome: refusal(r#"{"prefix": "/pilot"}"#),
            },
        ]
    }

    async fn put(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let key = self.place(name);
        self.0.write_document(&key, Some(content)).await
    }

    async fn delete(&mut self, name: &str) -> Result<()> {
        let key = self.place(name);
        self.0.write_document(&key, None).await
    }

    fn debug_views(&self) -> Vec<String> {
        vec![format!("{:?}", self.config()), format!("{:?}", rules(self.config()))]
    }
}
