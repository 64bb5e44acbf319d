//! The table `kubernetes` of a store of rules in pilot.toml.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;

/// A store of the documents of rules in one Kubernetes cluster: Istio's custom resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// The kubeconfig file that says where the cluster is and who pilot is. None = pilot runs in the cluster,
    /// and its service account says so.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Empty = its current one.
    pub context: String,
    /// The namespaces whose documents are followed. Empty = all.
    pub namespaces: Vec<String>,
    /// How long a watch lasts until it is renewed: whole seconds. A server that has fallen silent is noticed
    /// when that fails.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub watch_renewal: Duration,
    /// Documents of one page of a list.
    #[schemars(range(min = 1, max = 10_000))]
    pub page_size: u32,
    /// Bytes of one page of a list. A larger one ends the attempt.
    #[schemars(range(min = 1024))]
    pub max_page_bytes: usize,
    /// Bytes of one document in a watch. A larger one ends the attempt.
    #[schemars(range(min = 1024))]
    pub max_object_bytes: usize,
    /// Documents of one kind. A cluster with more is refused.
    #[schemars(range(min = 1))]
    pub max_objects: usize,
}

impl Default for RulesConfig {
    fn default() -> Self {
        let Config { watch_renewal, page_size, max_page_bytes, max_object_bytes, .. } = Config::default();
        Self {
            kubeconfig: None,
            context: String::new(),
            namespaces: Vec::new(),
            watch_renewal,
            page_size,
            max_page_bytes,
            max_object_bytes,
            max_objects: 100_000,
        }
    }
}

impl RulesConfig {
    /// The files that it names, with their keys, to make relative paths absolute.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        super::paths(&mut self.kubeconfig)
    }

    /// The files that the kubeconfig names, with their places in it: see
    /// [`files_of_kubeconfig`](crate::files_of_kubeconfig).
    pub fn files_of_kubeconfig(&self) -> Vec<(String, PathBuf)> {
        crate::files_of_kubeconfig(&self.cluster())
    }

    /// The cluster, and how it is asked.
    pub(crate) fn cluster(&self) -> Config {
        let Self {
            kubeconfig,
            context,
            namespaces,
            watch_renewal,
            page_size,
            max_page_bytes,
            max_object_bytes,
            max_objects,
        } = self.clone();
        Config {
            kubeconfig,
            context,
            namespaces,
            watch_renewal,
            page_size,
            max_page_bytes,
            max_object_bytes,
            max_objects,
            ..Config::default()
        }
    }
}
