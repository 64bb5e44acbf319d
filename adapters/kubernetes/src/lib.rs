//! Services and endpoints of a Kubernetes cluster, and documents of rules there, followed by list and watch.
//!
//! ```text
//!  API server ── list, watch ──► follow (one for each resource and namespace)
//!                                   │ updates
//!                                   ▼
//!                                 Cluster: objects, indexes ── convert ──► Snapshot ──► sink
//!                                 (what changed is converted anew, all else keeps its Arc)
//! ```
//!
//! The mapping, the limits and the permissions that are needed are in this package's README.md.
// A lock that lives across an await, in whatever it is wrapped, makes a future that cannot be sent.
#![cfg_attr(not(test), deny(clippy::future_not_send))]

mod client;
mod cluster;
mod config;
mod convert;
mod objects;
mod source;

pub use client::files_of_kubeconfig;
pub use config::{Config, HostTemplate, RulesConfig, USUAL_VARIABLES};
pub use source::{KubernetesRegistry, KubernetesRules};

use pilot_registry::ConfigError;

/// Makes a registry of the services of a cluster. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn registry(config: Config) -> Result<KubernetesRegistry, ConfigError> {
    KubernetesRegistry::new(config)
}

/// Makes a store of the documents of rules in a cluster. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn rules(config: &RulesConfig) -> Result<KubernetesRules, ConfigError> {
    KubernetesRules::new(config)
}
