//! Makes hosts from the names of services.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use pilot_registry::{Hostname, ModelError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

const SERVICE: &str = "{service}";
const NAMESPACE: &str = "{namespace}";
const DOMAIN: &str = "{domain}";

/// A host with places for {service}, which it has, {namespace} and {domain}.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostTemplate(String);

impl HostTemplate {
    /// The host of that service.
    ///
    /// # Errors
    /// It is no DNS name: too long, say.
    pub fn host(&self, service: &str, namespace: &str, domain: &str) -> Result<Hostname, ModelError> {
        self.0.replace(SERVICE, service).replace(NAMESPACE, namespace).replace(DOMAIN, domain).parse()
    }

    /// Whether services of several namespaces have different hosts.
    pub fn has_namespace(&self) -> bool {
        self.0.contains(NAMESPACE)
    }
}

impl FromStr for HostTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let template = Self(text.to_owned());
        if !text.contains(SERVICE) {
            return Err(format!("{text:?} is no template of hosts: expected {SERVICE} in it"));
        }
        match template.host("a", "b", "c") {
            Ok(_) => Ok(template),
            Err(_) => Err(format!(
                "{text:?} is no template of hosts: expected {SERVICE}, {NAMESPACE}, {DOMAIN}, and letters, \
                 digits, '-', '_' and '.'"
            )),
        }
    }
}

impl TryFrom<String> for HostTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostTemplate> for String {
    fn from(template: HostTemplate) -> Self {
        template.0
    }
}

impl fmt::Debug for HostTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl JsonSchema for HostTemplate {
    fn schema_name() -> Cow<'static, str> {
        "KubernetesHostTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "\\{service\\}" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let template: HostTemplate = "{service}.{namespace}.svc.{domain}".parse().unwrap();
        let host = template.host("web", "shop", "cluster.local").unwrap();
        assert_eq!(host.as_str(), "web.shop.svc.cluster.local");
    }

    #[test]
    fn templates_that_make_no_host_are_refused() {
        for text in ["", "web", "{service}.{name}", "{service} {namespace}", "{service}..x"] {
            assert!(text.parse::<HostTemplate>().is_err(), "{text:?}");
        }
    }
}
