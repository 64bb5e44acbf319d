//! WorkloadEntry: one place where services of ServiceEntries are served.

use std::collections::BTreeMap;

use pilot_registry::Address;
use schemars::JsonSchema;
use serde::Deserialize;

/// One endpoint: a document of its own, which ServiceEntries choose by its labels, or a part of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadEntry {
    /// Where it listens: an IP address; with resolution DNS a DNS name, too; with STATIC a Unix socket, `unix:///run/app.sock`.
    #[schemars(length(min = 1))]
    pub address: String,
    /// Its ports, by the names of the service's ports. Without its own, targetPort of the service's port counts.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// Its labels, for subsets and selectors. Of a document, the labels under metadata join them, and win.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The network that it is in.
    #[schemars(extend("x-inert" = "proxies reach every endpoint at its address: there are no gateways between networks"))]
    pub network: Option<String>,
    /// Where it runs: region/zone/subzone.
    pub locality: Option<String>,
    /// Its share of the traffic, relative to the others. 0, and nothing, is 1.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<u32>,
    /// The service account that it runs as.
    #[schemars(extend("x-inert" = "pilot knows no identities of service accounts: subjectAltNames of the ServiceEntry say \
                                   whose certificates are right"))]
    pub service_account: Option<String>,
}

impl WorkloadEntry {
    /// Where it listens.
    ///
    /// # Errors
    /// That is no address.
    pub fn address(&self) -> Result<Address, String> {
        let path = self.address.strip_prefix("unix://");
        let text = path.map_or_else(|| self.address.clone(), |path| format!("unix:{path}"));
        text.parse().map_err(|error: pilot_registry::ModelError| {
            format!("{error}: expected an IP address, a DNS name, or a Unix socket like unix:///run/app.sock")
        })
    }
}
