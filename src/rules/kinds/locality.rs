//! Which endpoints are used first, by where they and the proxy are.

use std::collections::BTreeMap;

use pilot_registry::Locality;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where endpoints are, in relation to the proxy. It counts in place of `[mesh] locality`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["distribute", "failover"], ["distribute", "failoverPriority"]]))]
pub struct LocalityLoadBalancing {
    /// Whether places matter: with true and nothing else, the nearest endpoints are used first. Without it, they matter if
    /// something else is said here, or by `[mesh] locality`.
    pub enabled: Option<bool>,
    /// Shares of places. The first one whose `from` has the proxy in it counts; places that it does not name get nothing.
    #[serde(default)]
    pub distribute: Vec<Distribute>,
    /// Which region takes over when there is no healthy endpoint in the proxy's own, before all others.
    #[serde(default)]
    pub failover: Vec<Failover>,
    /// Labels, `key` or `key=value`: the more of them an endpoint shares with the proxy (or has, with `=value`), from the
    /// first on, the earlier it is used. What neither of both has is shared.
    #[serde(default)]
    pub failover_priority: Vec<String>,
}

/// The labels of Kubernetes' and Istio's for the parts of a locality.
pub const PLACE_LABELS: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

impl LocalityLoadBalancing {
    /// Whether it says that places matter.
    pub fn is_on(&self) -> bool {
        let says_how =
            !self.distribute.is_empty() || !self.failover.is_empty() || !self.failover_priority.is_empty();
        self.enabled.unwrap_or(says_how)
    }

    /// The labels of proxies by which endpoints are ordered.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let labels = self.failover_priority.iter().filter(|_| self.is_on()).map(String::as_str);
        labels.filter(|label| !label.contains('=') && !PLACE_LABELS.contains(label))
    }

    /// The places of proxies that it tells apart, whether endpoints are there or not.
    pub fn origins(&self) -> impl Iterator<Item = Locality> {
        let distribute = self.distribute.iter().map(|one| place(&one.from));
        let failover =
            self.failover.iter().map(|one| Locality { region: one.from.clone(), ..Locality::default() });
        distribute.chain(failover).filter(|_| self.is_on())
    }
}

/// A place as documents write it: `region/zone/subzone`, or `*` at the end for all that is there.
pub fn place(text: &str) -> Locality {
    let mut parts = text.split('/').take_while(|part| *part != "*").map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}

/// How requests from one place are divided.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Distribute {
    /// Where the proxy is: `region/zone/subzone`, `*` at the end.
    #[schemars(length(min = 1))]
    pub from: String,
    /// Percent by place. The sum is 100.
    pub to: BTreeMap<String, u32>,
}

/// Which region takes over.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failover {
    /// The region of the proxy.
    #[schemars(length(min = 1))]
    pub from: String,
    /// The region that is used next.
    #[schemars(length(min = 1))]
    pub to: String,
}
