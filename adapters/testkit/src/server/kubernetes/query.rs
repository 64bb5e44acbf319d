//! What a request asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::store::{Place, Stored};

/// A list or a watch of one resource.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) resource: String,
    namespace: Option<String>,
    metadata_only: bool,
    selectors: Vec<Requirement>,
    parameters: BTreeMap<String, String>,
}

/// `key = value` or `key != value`, of labels or of fields.
#[derive(Clone, Debug)]
struct Requirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Query {
    /// The resource of `/api/v1/[namespaces/{namespace}/]pods` or `/apis/{group}/{version}/...`.
    pub(super) fn read<B>(request: &Request<B>) -> Option<Self> {
        let parts: Vec<&str> = request.uri().path().split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", "v1", rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return None,
        };
        let (namespace, resource) = match rest {
            [resource] => (None, *resource),
            ["namespaces", namespace, resource] => (Some((*namespace).to_owned()), *resource),
            _ => return None,
        };
        let parameters = parameters(request.uri().query().unwrap_or_default());
        let accept = request.headers().get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
        Some(Self {
            resource: resource.to_owned(),
            namespace,
            metadata_only: accept.is_some_and(|accept| accept.contains("as=PartialObjectMetadata")),
            selectors: selectors(&parameters),
            parameters,
        })
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    pub(super) fn is_watch(&self) -> bool {
        self.is_set("watch")
    }

    /// How long a watch lasts.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.get("timeoutSeconds").parse().unwrap_or(1800))
    }

    /// Version and kind of what it is about.
    pub(super) fn kind(&self) -> (&'static str, &'static str) {
        match self.resource.as_str() {
            _ if self.metadata_only => ("meta.k8s.io/v1", "PartialObjectMetadata"),
            "services" => ("v1", "Service"),
            "pods" => ("v1", "Pod"),
            "nodes" => ("v1", "Node"),
            "namespaces" => ("v1", "Namespace"),
            "virtualservices" => ("networking.istio.io/v1", "VirtualService"),
            "destinationrules" => ("networking.istio.io/v1", "DestinationRule"),
            _ => ("discovery.k8s.io/v1", "EndpointSlice"),
        }
    }

    /// What is said to whoever may not do that.
    pub(super) fn forbidden(&self, verb: &str) -> String {
        let resource = &self.resource;
        let group = match resource.as_str() {
            "endpointslices" => "discovery.k8s.io",
            "virtualservices" | "destinationrules" => "networking.istio.io",
            _ => "",
        };
        let place = match &self.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let whole = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        format!(
            "{whole} is forbidden: User \"pilot\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
        )
    }

    pub(super) fn selects(&self, place: &Place, stored: &Stored) -> bool {
        let here = self.namespace.as_ref().is_none_or(|namespace| *namespace == place.1);
        place.0 == self.resource && here && self.selectors.iter().all(|one| one.holds(&stored.value))
    }

    pub(super) fn text<'a>(&self, stored: &'a Stored) -> &'a str {
        if self.metadata_only { &stored.metadata } else { &stored.whole }
    }
}

impl Requirement {
    fn holds(&self, object: &Value) -> bool {
        let found = self.path.iter().try_fold(object, |value, key| value.get(key));
        (found.and_then(Value::as_str).unwrap_or_default() == self.value) == self.equal
    }
}

fn selectors(parameters: &BTreeMap<String, String>) -> Vec<Requirement> {
    let of = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    let labels = of("labelSelector");
    let labels = labels
        .split(',')
        .filter_map(|text| requirement(text, |key| ["metadata", "labels", key].map(str::to_owned).to_vec()));
    let fields = of("fieldSelector");
    let fields = fields
        .split(',')
        .filter_map(|text| requirement(text, |key| key.split('.').map(str::to_owned).collect()));
    labels.chain(fields).collect()
}

fn requirement(text: &str, path: impl Fn(&str) -> Vec<String>) -> Option<Requirement> {
    let (key, value, equal) = match text.split_once("!=") {
        Some((key, value)) => (key, value, false),
        None => text.split_once('=').map(|(key, value)| (key, value, true))?,
    };
    Some(Requirement { path: path(key.trim()), value: value.trim_start_matches('=').to_owned(), equal })
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    };
    query.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
