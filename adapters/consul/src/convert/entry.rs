//! The used fields of an entry of `/v1/health/service/NAME`. Newer servers may send more fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::Config;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) service: Instance,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Node {
    pub(super) node: String,
    #[serde(default)]
    pub(super) address: String,
    #[serde(default)]
    pub(super) datacenter: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tagged_addresses: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) locality: Place,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance {
    #[serde(rename = "ID", default)]
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
    #[serde(default)]
    pub(super) address: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tagged_addresses: BTreeMap<String, Tagged>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) meta: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) port: u32,
    /// Of servers where an instance may have several.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ports: Vec<NamedPort>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) socket_path: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) weights: Weights,
    #[serde(default)]
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) partition: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) locality: Place,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tagged {
    #[serde(default)]
    pub(super) address: String,
    #[serde(default)]
    pub(super) port: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedPort {
    #[serde(default)]
    pub(super) name: String,
    pub(super) port: u32,
    /// Whether it is the one that is meant where none is named.
    #[serde(default)]
    pub(super) default: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Weights {
    pub(super) passing: i64,
    pub(super) warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// Where something runs, as newer servers say.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) zone: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Check {
    #[serde(rename = "CheckID", default)]
    pub(super) id: String,
    pub(super) status: String,
}

impl Entry {
    /// Whether it is of a kind, and has the tags, that are asked for.
    pub(super) fn counts(&self, config: &Config) -> bool {
        let kind = match self.service.kind.as_str() {
            "" | "typical" => true,
            "connect-proxy" => config.connect_proxies,
            kind if kind.ends_with("-gateway") => config.gateways,
            _ => false,
        };
        kind && config.tags.iter().all(|tag| self.service.tags.contains(tag))
    }
}

/// Consul writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}
