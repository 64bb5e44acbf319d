//! Routing rules: documents that people write, in the language of Istio's traffic management.
//!
//! ```text
//!  text of a store ─► text      pieces of YAML or JSON, each value with its line and column
//!                     envelope  which document it is: kind, namespace, name, age
//!                     conform   compares it with the shape of its kind: all that does not fit, at once
//!                     kinds     what it says, typed
//!                     validate  what no shape can say: weights, hosts, what excludes what
//!  texts of a store ─► library   what of each document is in force: what it says now, or its last good version
//!  libraries ────────► index     all documents in force, by the hosts that they name
//! ```
//!
//! Nothing a user wrote is passed over in silence: a field counts, or is warned of because it means nothing here, or the
//! whole document is rejected with the place, the reason and what was expected. A document that is wrong takes no other
//! one with it.

mod conform;
mod envelope;
mod finding;
mod index;
pub mod kinds;
mod library;
mod node;
mod places;
mod reference;
mod regex;
mod ruling;
mod saved;
mod shape;
mod size;
#[cfg(test)]
mod tests;
mod text;
mod validate;

pub use envelope::{DocumentId, Kind};
pub use finding::{Finding, Level};
pub use index::{DocumentChange, Rules, TouchedNames};
pub use library::{Entries, Entry, InForce, Library, Taken, Version, Versions};
pub use node::Position;
pub use places::Places;
pub use reference::{FieldReference, Support};
pub use ruling::{Label, Ruling, StoreRank};
pub use saved::SavedRules;
pub use size::{ROUTES_MAX, delegated_routes};

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use kinds::{DestinationRule, Gateway, ServiceEntry, VirtualService, WorkloadEntry};

/// The namespace of documents, and of proxies, that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// gRPC's names of its statuses, in the order of their numbers.
pub(crate) const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a document says, typed and valid.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Routes of requests.
    VirtualService(Box<VirtualService>),
    /// Subsets, and policies of destinations.
    DestinationRule(Box<DestinationRule>),
    /// Services that no registry knows.
    ServiceEntry(Box<ServiceEntry>),
    /// An endpoint of such services.
    WorkloadEntry(Box<WorkloadEntry>),
    /// Where proxies at the edge listen.
    Gateway(Box<Gateway>),
}

/// One document of a text, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Which one it is; `None` = that cannot be told.
    pub id: Option<DocumentId>,
    /// Where it begins.
    pub at: Position,
    /// When it was made, by its own word.
    pub created: Option<jiff::Timestamp>,
    /// What it says; `None` = it is rejected.
    pub spec: Option<Spec>,
    /// All of it, as JSON.
    pub source: Arc<str>,
    /// A hash of what stands under `spec`, however it is written: the order of keys, comments and what platforms add elsewhere do
    /// not matter. `None` = there is none.
    pub hash: Option<u64>,
    /// What is wrong with it, and what it should know, in the order of the text.
    pub findings: Vec<Finding>,
}

/// Reads a text of YAML or JSON: several documents, lists of them (`kind: List`), or none. Documents without a namespace
/// are of `namespace`.
pub fn read(text: &str, namespace: &str) -> Vec<Document> {
    let pieces = text::pieces(text).into_iter();
    pieces
        .flat_map(|piece| match piece {
            Ok(node) => envelope::unlisted(node).into_iter().map(|node| document(node, namespace)).collect(),
            Err(finding) => vec![unreadable(finding)],
        })
        .collect()
}

fn unreadable(finding: Finding) -> Document {
    Document {
        id: None,
        at: finding.at,
        created: None,
        spec: None,
        source: "".into(),
        hash: None,
        findings: vec![finding],
    }
}

fn document(node: node::Node, namespace: &str) -> Document {
    let at = node.at;
    let source = node.json().to_string().into();
    let mut findings = Vec::new();
    let opened = envelope::open(node, namespace, &mut findings);
    let mut spec =
        opened.kind.zip(opened.spec.as_ref()).and_then(|(kind, spec)| kind.read(spec, &mut findings));
    if let (Some(Spec::VirtualService(rule)), Some(id)) = (&mut spec, &opened.id) {
        rule.name_gateways(&id.namespace);
    }
    if let Some(spec) = &mut spec {
        spec.label(opened.labels);
    }
    findings.sort_by_key(|finding| finding.at);
    let is_wrong = findings.iter().any(|finding| finding.level == Level::Error);
    finding::tell_of_more(at, &mut findings);
    Document {
        id: opened.id,
        at,
        created: opened.created,
        spec: spec.filter(|_| !is_wrong),
        source,
        hash: opened.spec.map(|spec| xxh3_64(spec.json().to_string().as_bytes())),
        findings,
    }
}

impl Kind {
    /// Reads what stands under `spec`. `None` = it is wrong, which `findings` say.
    fn read(self, spec: &node::Node, findings: &mut Vec<Finding>) -> Option<Spec> {
        match self {
            Self::VirtualService => {
                let mut typed = conform::conform::<VirtualService>(spec, findings)?;
                typed.each_host(without_final_dot);
                validate::virtual_service(&typed, &mut validate::Report::new(spec, findings));
                Some(Spec::VirtualService(Box::new(typed)))
            }
            Self::DestinationRule => {
                let mut typed = conform::conform::<DestinationRule>(spec, findings)?;
                without_final_dot(&mut typed.host);
                validate::destination_rule(&typed, &mut validate::Report::new(spec, findings));
                Some(Spec::DestinationRule(Box::new(typed)))
            }
            Self::ServiceEntry => {
                let mut typed = conform::conform::<ServiceEntry>(spec, findings)?;
                typed.hosts.iter_mut().for_each(without_final_dot);
                validate::service_entry(&typed, &mut validate::Report::new(spec, findings));
                Some(Spec::ServiceEntry(Box::new(typed)))
            }
            Self::WorkloadEntry => {
                let typed = conform::conform::<WorkloadEntry>(spec, findings)?;
                validate::workload_entry(&typed, &mut validate::Report::new(spec, findings));
                Some(Spec::WorkloadEntry(Box::new(typed)))
            }
            Self::Gateway => {
                let mut typed = conform::conform::<Gateway>(spec, findings)?;
                typed.servers.iter_mut().flat_map(|server| &mut server.hosts).for_each(without_final_dot);
                validate::gateway(&typed, &mut validate::Report::new(spec, findings));
                Some(Spec::Gateway(Box::new(typed)))
            }
        }
    }
}

impl Spec {
    /// The document's own labels are those of what it says, where that has labels.
    fn label(&mut self, labels: BTreeMap<String, String>) {
        match self {
            Self::ServiceEntry(entry) => entry.labels = labels,
            Self::WorkloadEntry(entry) => entry.labels.extend(labels),
            Self::VirtualService(_) | Self::DestinationRule(_) | Self::Gateway(_) => {}
        }
    }
}

/// A name that ends with a dot is that of DNS's root, and means the same without it (RFC 1034, 3.1).
fn without_final_dot(host: &mut String) {
    if host.len() > 1 && host.ends_with('.') {
        host.pop();
    }
}
