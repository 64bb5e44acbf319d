//! Documents of rules in keys of the same etcd.

use anyhow::Result;
use pilot_registry::{RuleStore, async_trait};
use pilot_registry_etcd::{Config, rules};
use pilot_registry_testkit::documents::DocumentBackend;
use pilot_registry_testkit::{Backend, BadConfig};

use crate::backend::EtcdBackend;
use crate::writer::PREFIX;

pub(crate) struct EtcdDocuments(EtcdBackend);

impl EtcdDocuments {
    pub(crate) async fn new() -> Result<Option<Self>> {
        Ok(EtcdBackend::new(1).await?.map(Self))
    }
}

#[async_trait]
impl DocumentBackend for EtcdDocuments {
    fn platform(&mut self) -> &mut dyn Backend {
        &mut self.0
    }

    fn store(&self, limit: usize) -> Box<dyn RuleStore> {
        let config = Config { max_bytes: limit, ..self.0.config() };
        Box::new(rules(config).expect("the configuration makes sense"))
    }

    fn place(&self, name: &str) -> String {
        format!("{PREFIX}/rules/{name}")
    }

    fn has_ages(&self) -> bool {
        true
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        let outcome = rules(Config::new(Vec::<String>::new())).map(drop).map_err(|error| error.to_string());
        vec![BadConfig { wrong: "no endpoint", mentions: &["endpoints"], outcome }]
    }

    async fn put(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.0.client().put(self.place(name), content, None).await?;
        Ok(())
    }

    async fn delete(&mut self, name: &str) -> Result<()> {
        self.0.client().delete(self.place(name), None).await?;
        Ok(())
    }

    fn debug_views(&self) -> Vec<String> {
        vec![format!("{:?}", self.0.config()), format!("{:?}", rules(self.0.config()))]
    }
}
