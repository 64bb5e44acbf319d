//! Objects as they are stored: only the used fields.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pilot_registry::{Labels, Locality};

use super::{Interner, Slice};
use crate::objects::{Key, Meta, PodSpec, ServiceSpec};

/// How the annotations begin that are pilot's.
const ANNOTATIONS: &str = "pilot/";

/// Istio's, of services: who sees them.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

const REGION: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/// An object of one of the resources that are followed.
#[derive(Debug)]
pub(crate) enum Entry {
    Service(Box<Service>),
    Slice(Slice),
    Pod(Pod),
    Node(Node),
    Namespace,
}

/// The objects that endpoints refer to.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) pods: HashMap<Key, Pod>,
    pub(crate) nodes: HashMap<Arc<str>, Node>,
}

/// A service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) labels: Labels,
    /// Pilot's own, without the beginning that they share.
    pub(crate) annotations: BTreeMap<String, String>,
    /// The annotation that says who sees it.
    pub(crate) export_to: Option<String>,
    pub(crate) spec: ServiceSpec,
}

impl Service {
    pub(crate) fn new(meta: &Meta, spec: ServiceSpec) -> Self {
        let all = meta.annotations.iter().flatten();
        let own =
            all.filter_map(|(key, value)| Some((key.strip_prefix(ANNOTATIONS)?.to_owned(), value.clone())));
        let export_to = meta.annotations.as_ref().and_then(|all| all.get(EXPORT_TO).cloned());
        let labels = meta.labels.clone().unwrap_or_default();
        Self { labels, annotations: own.collect(), export_to, spec }
    }
}

/// A pod. There are many: what replicas have in common is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) labels: Arc<Labels>,
    /// The service account, where it is read.
    pub(crate) account: Option<Arc<str>>,
    /// The annotation.
    pub(crate) weight: Option<Arc<str>>,
}

impl Pod {
    pub(crate) fn new(meta: &Meta, spec: Option<PodSpec>, interner: &mut Interner) -> Self {
        let weight = meta.annotations.as_ref().and_then(|all| all.get(&format!("{ANNOTATIONS}weight")));
        let account = spec.map(|spec| spec.service_account_name.unwrap_or_else(|| "default".to_owned()));
        Self {
            labels: interner.labels(meta.labels.clone().unwrap_or_default()),
            account: account.map(|account| interner.text(&account)),
            weight: weight.map(|weight| interner.text(weight)),
        }
    }
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) locality: Locality,
}

impl Node {
    pub(crate) fn new(meta: &Meta) -> Self {
        let labels = meta.labels.as_ref();
        let first =
            |keys: [&str; 2]| keys.iter().find_map(|key| labels?.get(*key)).cloned().unwrap_or_default();
        Self { locality: Locality { region: first(REGION), zone: first(ZONE), sub_zone: String::new() } }
    }
}
