//! Which document it is: its kind, namespace, name and age.

use std::collections::BTreeMap;
use std::fmt;

use super::finding::Finding;
use super::node::{Node, Path, TableField, Value};

/// Kinds of documents that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Kind {
    /// Routes of requests.
    VirtualService,
    /// Subsets, and policies of destinations.
    DestinationRule,
    /// Services that no registry knows.
    ServiceEntry,
    /// An endpoint of such services.
    WorkloadEntry,
    /// Where proxies at the edge listen.
    Gateway,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::VirtualService, Self::DestinationRule, Self::ServiceEntry, Self::WorkloadEntry, Self::Gateway];

    /// As documents write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::Gateway => "Gateway",
        }
    }

    /// Whether the labels under `metadata` mean something.
    const fn has_labels(self) -> bool {
        matches!(self, Self::ServiceEntry | Self::WorkloadEntry)
    }
}

/// All of them, in words.
fn kinds() -> String {
    let [first @ .., last] = Kind::ALL.map(Kind::as_str);
    format!("{} or {last}", first.join(", "))
}

/// Names one document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct DocumentId {
    /// As it is written: it may be none that is read.
    pub kind: String,
    /// Whose it is.
    pub namespace: String,
    /// Its name among those of its kind and namespace.
    pub name: String,
}

impl DocumentId {
    /// No document comes before it.
    pub const FIRST: Self = Self { kind: String::new(), namespace: String::new(), name: String::new() };
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// A document whose envelope was read.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) id: Option<DocumentId>,
    /// `None`: it is none that is read.
    pub(super) kind: Option<Kind>,
    pub(super) created: Option<jiff::Timestamp>,
    /// Those under `metadata`.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) spec: Option<Node>,
}

/// Names of one schema.
const VERSIONS: [&str; 3] =
    ["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"];

/// What to do where other kinds are written, with a mesh of another make.
fn instead(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Service" | "Endpoints" | "EndpointSlice" => {
            "services come from registries, and from ServiceEntries: write it in a services file, as a ServiceEntry, or \
             register it"
        }
        "WorkloadGroup" => {
            "no workload registers itself by a document: run `pilot register` beside it, or write a WorkloadEntry for each"
        }
        "Ingress" | "GatewayClass" => "write a Gateway of networking.istio.io/v1, and VirtualServices",
        "HTTPRoute" | "GRPCRoute" => "write it as a VirtualService",
        "TCPRoute" | "TLSRoute" => {
            "TCP is not routed by rules: connections go to the service whose port they come to"
        }
        "BackendTLSPolicy" => "write trafficPolicy.tls of a DestinationRule",
        "EnvoyFilter" | "WasmPlugin" | "ProxyConfig" | "Telemetry" => {
            "pilot does not pass Envoy's own configuration on: write what a proxy is to have in its bootstrap file"
        }
        "Sidecar" => {
            "a proxy is told all that its namespace may see: write exportTo, or visible_to of services"
        }
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => {
            "pilot configures how requests are sent, and not who may send them: let the service, or a filter in the Envoy's \
             bootstrap file, decide"
        }
        _ => return None,
    })
}

/// Whether it is the name of a kind, read or not, and no misspelt one.
pub(super) fn is_kind(name: &str) -> bool {
    Kind::ALL.iter().any(|kind| kind.as_str() == name) || instead(name).is_some()
}

/// What platforms add to documents that they print. It says nothing about routes.
const PRINTED: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "generateName",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
];

/// The documents of a list; of another document: itself.
pub(super) fn unlisted(node: Node) -> Vec<Node> {
    let is_list = node.get("kind").and_then(Node::text).is_some_and(|kind| kind == "List");
    match node.value {
        Value::Table(fields) if is_list => {
            let items = fields.into_iter().find(|field| field.key == "items").map(|field| field.value.value);
            match items {
                Some(Value::List(items)) => items.into_iter().flat_map(unlisted).collect(),
                _ => Vec::new(),
            }
        }
        _ => vec![node],
    }
}

/// Reads everything but what stands under `spec`.
pub(super) fn open(node: Node, namespace: &str, findings: &mut Vec<Finding>) -> Opened {
    let at = node.at;
    let Value::Table(fields) = node.value else {
        let message =
            format!("{} is no document: expected apiVersion, kind, metadata and spec", node.value.shown());
        findings.push(Finding::error(at, "", message));
        return Opened::default();
    };
    let mut envelope = Envelope { findings, fields };
    let kind = envelope.kind(at);
    let metadata = envelope.take("metadata").map(|field| field.value);
    let spec = envelope.take("spec").map(|field| field.value);
    envelope.take("status");
    envelope.leftovers();
    if spec.is_none() && kind.as_ref().is_none_or(|(_, known)| known.is_some()) {
        envelope.findings.push(Finding::error(at, "spec", "it is missing"));
    }
    let written = kind.as_ref().map(|(written, _)| written.clone());
    let kind = kind.and_then(|(_, kind)| kind);
    let labels = metadata.as_ref().and_then(|metadata| metadata.get("labels"));
    let labels = labels.filter(|_| kind.is_some_and(Kind::has_labels));
    let labels = labels.map(|labels| self::labels(labels, envelope.findings)).unwrap_or_default();
    let (id, created) = self::metadata(metadata, at, written, namespace, envelope.findings);
    Opened { id, kind, created, labels, spec }
}

/// The document's own labels.
fn labels(node: &Node, findings: &mut Vec<Finding>) -> BTreeMap<String, String> {
    let path = Path::new("metadata");
    let path = path.key("labels");
    let Value::Table(fields) = &node.value else {
        let message = format!("{} does not fit: expected a table", node.value.shown());
        findings.push(Finding::error(node.at, path, message));
        return BTreeMap::new();
    };
    let mut labels = BTreeMap::new();
    for TableField { key, value, .. } in fields {
        match value.text() {
            Some(text) => _ = labels.insert(key.clone(), text.to_owned()),
            None => {
                let message = format!("{} does not fit: expected a text, in quotes", value.value.shown());
                findings.push(Finding::error(value.at, path.key(key), message));
            }
        }
    }
    labels
}

struct Envelope<'a> {
    findings: &'a mut Vec<Finding>,
    fields: Vec<TableField>,
}

impl Envelope<'_> {
    fn take(&mut self, key: &str) -> Option<TableField> {
        let i = self.fields.iter().position(|field| field.key == key)?;
        Some(self.fields.remove(i))
    }

    /// The kind as it is written, and the one that it is.
    fn kind(&mut self, at: super::Position) -> Option<(String, Option<Kind>)> {
        let version = self.take("apiVersion");
        let Some(kind) = self.take("kind") else {
            self.findings.push(Finding::error(at, "kind", format!("it is missing: expected {}", kinds())));
            return None;
        };
        let at = kind.value.at;
        let Some(written) = kind.value.text() else {
            let message = format!("{} does not fit: expected a text", kind.value.value.shown());
            self.findings.push(Finding::error(at, "kind", message));
            return None;
        };
        let known = Kind::ALL.into_iter().find(|known| known.as_str() == written);
        let version_text = version.as_ref().and_then(|version| version.value.text());
        match (known, version_text) {
            (_, None) => {
                let at = version.as_ref().map_or(at, |version| version.value.at);
                self.findings.push(Finding::error(at, "apiVersion", format!("expected {}", VERSIONS[0])));
            }
            (None, _) => {
                let near = Kind::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(written));
                let message = match near {
                    Some(near) => format!("{written:?} is written {}", near.as_str()),
                    None => match instead(written) {
                        Some(instead) => format!("{written} is no kind that is read: {instead}"),
                        None => format!("{written} is no kind that is read: expected {}", kinds()),
                    },
                };
                self.findings.push(Finding::error(at, "kind", message));
            }
            (Some(_), Some(version_text)) if !VERSIONS.contains(&version_text) => {
                let at = version.as_ref().map_or(at, |version| version.value.at);
                let message = format!("{version_text:?} does not fit: expected {}", VERSIONS.join(", "));
                self.findings.push(Finding::error(at, "apiVersion", message));
            }
            (Some(_), Some(_)) => {}
        }
        Some((written.to_owned(), known))
    }

    fn leftovers(&mut self) {
        for field in self.fields.drain(..) {
            let message = "unknown field: a document has apiVersion, kind, metadata and spec. What is said of traffic stands \
                           under spec";
            self.findings.push(Finding::error(field.at, &field.key, message));
        }
    }
}

fn metadata(
    metadata: Option<Node>,
    at: super::Position,
    kind: Option<String>,
    default_namespace: &str,
    findings: &mut Vec<Finding>,
) -> (Option<DocumentId>, Option<jiff::Timestamp>) {
    let path = Path::new("metadata");
    let fields = match metadata {
        Some(Node { value: Value::Table(fields), .. }) => fields,
        Some(other) => {
            findings.push(Finding::error(
                other.at,
                path,
                format!("{} does not fit: expected a table", other.value.shown()),
            ));
            return (None, None);
        }
        None => {
            findings.push(Finding::error(at, path, "it is missing: a document has a name"));
            return (None, None);
        }
    };
    let (mut name, mut namespace, mut created) = (None, default_namespace.to_owned(), None);
    for field in fields {
        let path = path.key(&field.key);
        let text = field.value.text();
        match (field.key.as_str(), text) {
            ("name", Some(text)) => match dns_name(text) {
                Ok(()) => name = Some(text.to_owned()),
                Err(why) => findings.push(Finding::error(field.value.at, path, why)),
            },
            ("namespace", Some(text)) => match dns_label(text) {
                Ok(()) => text.clone_into(&mut namespace),
                Err(why) => findings.push(Finding::error(field.value.at, path, why)),
            },
            ("creationTimestamp", Some(text)) => match text.parse() {
                Ok(time) => created = Some(time),
                Err(_) => {
                    let message = format!("{text:?} is no time: expected one like 2026-01-31T08:00:00Z");
                    findings.push(Finding::error(field.value.at, path, message));
                }
            },
            // As it is printed of what was not stored yet.
            ("creationTimestamp", None) if matches!(field.value.value, Value::Null) => {}
            ("name" | "namespace" | "creationTimestamp", None) => {
                let message = format!("{} does not fit: expected a text", field.value.value.shown());
                findings.push(Finding::error(field.value.at, path, message));
            }
            ("labels" | "annotations", _) => {}
            (key, _) if PRINTED.contains(&key) => {}
            _ => {
                let message =
                    "unknown field: expected name, namespace, labels, annotations or creationTimestamp";
                findings.push(Finding::error(field.at, path, message));
            }
        }
    }
    let Some(name) = name else {
        if !findings.iter().any(|finding| finding.path == "metadata.name") {
            findings.push(Finding::error(at, path.key("name"), "it is missing"));
        }
        return (None, created);
    };
    (kind.map(|kind| DocumentId { kind, namespace, name }), created)
}

/// RFC 1123: a label of at most 63 letters, digits and `-`.
pub(super) fn dns_label(text: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let fits = !text.is_empty() && text.len() <= 63 && text.bytes().all(allowed);
    if fits && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(());
    }
    Err(format!(
        "{text:?} does not fit: expected at most 63 lower-case letters, digits and '-', like reviews-v2"
    ))
}

/// RFC 1123: labels, with dots between them.
pub(super) fn dns_name(text: &str) -> Result<(), String> {
    if text.len() <= 253 && text.split('.').all(|label| dns_label(label).is_ok()) {
        return Ok(());
    }
    Err(format!("{text:?} does not fit: expected lower-case letters, digits, '-' and '.', like reviews.v2"))
}
