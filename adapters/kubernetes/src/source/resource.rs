//! The followed resources, and their paths in the API.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Config;

/// All but unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const WHOLE: &str = "application/json";
// The plain type is for servers that cannot reduce objects.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A kind of object that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    Namespaces,
    Nodes,
    Pods,
    Slices,
    Services,
    /// Documents of rules. They are no part of a cluster's services, and have a store of their own.
    VirtualServices,
    /// The same.
    DestinationRules,
    /// The same.
    ServiceEntries,
    /// The same.
    WorkloadEntries,
    /// The same.
    Gateways,
}

impl Resource {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::Slices => "endpointslices",
            Self::Services => "services",
            Self::VirtualServices => "virtualservices",
            Self::DestinationRules => "destinationrules",
            Self::ServiceEntries => "serviceentries",
            Self::WorkloadEntries => "workloadentries",
            Self::Gateways => "gateways",
        }
    }

    /// Whether services can be told without it, with less of each.
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Self::Nodes | Self::Pods)
    }

    fn base(self) -> &'static str {
        match self {
            Self::Slices => "/apis/discovery.k8s.io/v1",
            Self::VirtualServices
            | Self::DestinationRules
            | Self::ServiceEntries
            | Self::WorkloadEntries
            | Self::Gateways => DOCUMENTS[0],
            Self::Namespaces | Self::Nodes | Self::Pods | Self::Services => "/api/v1",
        }
    }
}

/// The versions of documents of rules, the preferred one first. They are one schema.
pub(super) const DOCUMENTS: [&str; 3] = [
    "/apis/networking.istio.io/v1",
    "/apis/networking.istio.io/v1beta1",
    "/apis/networking.istio.io/v1alpha3",
];

/// A resource in the whole cluster or in one namespace, as far as it is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) resource: Resource,
    /// What its path begins with.
    base: &'static str,
    pub(crate) namespace: Option<Arc<str>>,
    /// Whether metadata is all that is used.
    metadata_only: bool,
    /// Parameters of the query, encoded.
    selection: String,
}

impl Scope {
    /// Everything that is followed because of this configuration.
    pub(crate) fn all(config: &Config) -> Vec<Self> {
        let mut all = Vec::new();
        if !config.namespace_selector.is_empty() {
            let selection = parameter("labelSelector", &config.namespace_selector);
            all.push(Self { selection, ..Self::of(Resource::Namespaces) });
        }
        if config.nodes {
            all.push(Self::of(Resource::Nodes));
        }
        let named = config.namespaces.iter().map(|name| Some(name.as_str().into()));
        let everywhere = config.namespaces.is_empty().then_some(None);
        for namespace in named.chain(everywhere) {
            let within = |scope: Self| Self { namespace: namespace.clone(), ..scope };
            if config.pods {
                all.push(within(Self::pods(config)));
            }
            all.push(within(Self { metadata_only: false, ..Self::of(Resource::Slices) }));
            let selection = match config.service_selector.as_str() {
                "" => String::new(),
                selector => parameter("labelSelector", selector),
            };
            all.push(within(Self { metadata_only: false, selection, ..Self::of(Resource::Services) }));
        }
        all
    }

    fn of(resource: Resource) -> Self {
        let (base, selection) = (resource.base(), String::new());
        Self { resource, base, namespace: None, metadata_only: true, selection }
    }

    /// Documents of rules, in the version of [`DOCUMENTS`] that the server has.
    pub(super) fn documents(resource: Resource, base: &'static str, namespace: Option<Arc<str>>) -> Self {
        Self { base, namespace, metadata_only: false, ..Self::of(resource) }
    }

    /// Pods that have ended serve nothing. Their accounts are not in their metadata.
    fn pods(config: &Config) -> Self {
        let selection = parameter("fieldSelector", "status.phase!=Succeeded,status.phase!=Failed");
        Self { selection, metadata_only: config.trust_domain.is_empty(), ..Self::of(Resource::Pods) }
    }

    /// Whether an object of that namespace is in it.
    pub(crate) fn contains(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|own| **own == *namespace)
    }

    /// Whether the configuration selects some of its objects.
    pub(crate) fn is_selective(&self) -> bool {
        !self.selection.is_empty()
    }

    pub(crate) fn accept_list(&self) -> &'static str {
        if self.metadata_only { METADATA_LIST } else { WHOLE }
    }

    pub(crate) fn accept_watch(&self) -> &'static str {
        if self.metadata_only { METADATA } else { WHOLE }
    }

    /// Path and query, with these parameters.
    pub(crate) fn path(&self, parameters: &[(&str, &str)]) -> String {
        let mut path = self.base.to_owned();
        if let Some(namespace) = &self.namespace {
            path = format!("{path}/namespaces/{namespace}");
        }
        let given = parameters.iter().map(|(name, value)| parameter(name, value));
        let all: Vec<_> = given.chain([self.selection.clone()]).filter(|text| !text.is_empty()).collect();
        format!("{path}/{}?{}", self.resource.as_str(), all.join("&"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in namespace {namespace}", self.resource.as_str()),
            None => f.write_str(self.resource.as_str()),
        }
    }
}

/// `name=value`, percent-encoded.
fn parameter(name: &str, value: &str) -> String {
    format!("{name}={}", utf8_percent_encode(value, RESERVED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let config = Config {
            namespaces: vec!["shop".into()],
            service_selector: "a in (b,c)".into(),
            ..Config::default()
        };
        let paths: Vec<_> = Scope::all(&config).iter().map(|scope| scope.path(&[("limit", "5")])).collect();
        assert_eq!(
            paths,
            [
                "/api/v1/nodes?limit=5",
                "/api/v1/namespaces/shop/pods?limit=5&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
                "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?limit=5",
                "/api/v1/namespaces/shop/services?limit=5&labelSelector=a%20in%20%28b%2Cc%29",
            ]
        );
    }

    #[test]
    fn what_is_not_used_is_not_followed() {
        let config = Config { pods: false, nodes: false, ..Config::default() };
        let resources: Vec<_> = Scope::all(&config).into_iter().map(|scope| scope.resource).collect();
        assert_eq!(resources, [Resource::Slices, Resource::Services]);
    }
}
