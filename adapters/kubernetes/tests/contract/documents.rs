//! Documents of rules as custom resources of the same cluster.

use std::time::Duration;

use anyhow::{Context, Result};
use pilot_registry::{RuleStore, async_trait};
use pilot_registry_kubernetes::{RulesConfig, rules};
use pilot_registry_testkit::documents::DocumentBackend;
use pilot_registry_testkit::{Backend, BadConfig};
use serde_json::Value;

use crate::backend::KubernetesBackend;

pub(crate) struct KubernetesDocuments(KubernetesBackend);

impl KubernetesDocuments {
    pub(crate) async fn new() -> Result<Self> {
        let backend = KubernetesBackend::new(true).await?;
        for resource in
            ["virtualservices", "destinationrules", "serviceentries", "workloadentries", "gateways"]
        {
            backend.server().set_custom(resource, &["networking.istio.io/v1"]);
        }
        Ok(Self(backend))
    }

    fn config(&self) -> RulesConfig {
        let kubeconfig = Some(self.0.kubeconfig());
        // An open watch goes on though its credentials are refused: that is noticed when it is renewed.
        let watch_renewal = Duration::from_secs(2);
        RulesConfig { kubeconfig, page_size: 100, watch_renewal, ..RulesConfig::default() }
    }
}

fn in_namespace(content: &[u8]) -> Result<Value> {
    let mut document: Value = serde_json::from_slice(content).context("only JSON is put")?;
    document["metadata"]["namespace"] = "apps".into();
    Ok(document)
}

fn refusal(text: &str) -> Result<(), String> {
    let config: RulesConfig = toml::from_str(text).map_err(|error| error.to_string())?;
    rules(&config).map(drop).map_err(|error| error.to_string())
}

#[async_trait]
impl DocumentBackend for KubernetesDocuments {
    fn platform(&mut self) -> &mut dyn Backend {
        &mut self.0
    }

    fn store(&self, limit: usize) -> Box<dyn RuleStore> {
        let config = RulesConfig { max_object_bytes: limit, ..self.config() };
        Box::new(rules(&config).expect("the configuration makes sense"))
    }

    fn place(&self, name: &str) -> String {
        format!("DestinationRule/apps/{name}")
    }

    /// The document itself says when it was made.
    fn has_ages(&self) -> bool {
        false
    }

    /// In its namespace.
    fn as_seen(&self, document: &str) -> String {
        in_namespace(document.as_bytes()).expect("only JSON is put").to_string()
    }

    /// A line of a watch may come with the next ones, in parts of up to a MiB.
    fn huge(&self) -> usize {
        2 << 20
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        let bad = |wrong, mentions, text| BadConfig { wrong, mentions, outcome: refusal(text) };
        vec![
            bad("a key of the registry", &["line 1", "`pods`"], "pods = true"),
            bad("a context of nothing", &["context", "kubeconfig"], "context = 'east'"),
            bad("a path for a namespace", &["namespaces", "a-z"], "namespaces = ['../nodes']"),
        ]
    }

    async fn put(&mut self, _: &str, content: &[u8]) -> Result<()> {
        self.0.server().put("destinationrules", in_namespace(content)?);
        Ok(())
    }

    async fn delete(&mut self, name: &str) -> Result<()> {
        self.0.server().delete("destinationrules", "apps", name);
        Ok(())
    }

    fn has_only_text(&self) -> Option<&'static str> {
        Some("an object is JSON")
    }

    fn is_named_by_its_content(&self) -> Option<&'static str> {
        Some("the name of an object is in it")
    }

    fn debug_views(&self) -> Vec<String> {
        vec![format!("{:?}", self.config()), format!("{:?}", rules(&self.config()))]
    }
}
