//! DestinationRule: subsets of a host's endpoints, and policies of connections to them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::locality::LocalityLoadBalancing;
use super::traffic_policy::TrafficPolicy;

/// How the endpoints of a host are used.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationRule {
    /// The service: its host, one of its aliases, its short name in the document's namespace, or `*.suffix`.
    #[schemars(length(min = 1))]
    pub host: String,
    /// What counts for all of its endpoints.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of its endpoints.
    #[serde(default)]
    pub subsets: Vec<Subset>,
    /// The namespaces whose proxies use it: names, `.` for its own, `*` for all. Without any, all.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// The proxies that use it, of its own namespace. Without it, all.
    pub workload_selector: Option<WorkloadSelector>,
}

impl DestinationRule {
    /// All that it says of where endpoints are.
    pub fn places(&self) -> impl Iterator<Item = &LocalityLoadBalancing> {
        let subsets = self.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
        let balancers = self.traffic_policy.iter().chain(subsets).flat_map(TrafficPolicy::load_balancers);
        balancers.filter_map(|balancer| balancer.locality_lb_setting.as_ref())
    }

    /// Whether it matters where proxies are.
    pub fn asks_for_places(&self) -> bool {
        self.places().any(LocalityLoadBalancing::is_on)
    }
}

/// A named part of a host's endpoints.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subset {
    /// What routes call it.
    pub name: String,
    /// The labels that its endpoints have; they may have more. None: all endpoints.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What counts for it instead of the host's policy, block by block.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// Chooses workloads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadSelector {
    /// The labels that they have.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}
