//! A document that counts, and what of it others are found by.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::kinds::{DestinationRule, Gateway, MESH, ServiceEntry, VirtualService, WorkloadEntry};
use super::{DocumentId, Kind, Spec, Version};

/// A label's key and value.
pub type Label = (Arc<str>, Arc<str>);

/// A store's place in the order of stores: the smallest is preferred.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreRank {
    /// Of pilot.toml; 0 is preferred.
    pub priority: u32,
    /// Its name in pilot.toml.
    pub name: Arc<str>,
}

/// A document that counts, with its place in the order of documents.
#[derive(Clone, Debug)]
pub struct Ruling {
    /// What it says.
    pub version: Arc<Version>,
    /// The store that it is from.
    pub store: StoreRank,
}

/// The same version of the same store.
impl PartialEq for Ruling {
    fn eq(&self, other: &Self) -> bool {
        self.store == other.store && Arc::ptr_eq(&self.version, &other.version)
    }
}

/// The older document wins: by store, then age (a document without an age is youngest), then name, then namespace.
pub(super) type RulingRank<'a> = (&'a StoreRank, bool, Option<u64>, &'a str, &'a str);

impl Ruling {
    pub(super) fn rank(&self) -> RulingRank<'_> {
        let Version { id, age, .. } = &*self.version;
        (&self.store, age.is_none(), *age, &id.name, &id.namespace)
    }

    /// The older one first.
    pub fn by_age(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }

    /// The hosts to which requests are sent, as they are written, in lower case.
    pub fn destinations(&self) -> BTreeSet<Arc<str>> {
        let hosts = self.virtual_service().into_iter().flat_map(VirtualService::destinations);
        hosts.map(|destination| destination.host.to_ascii_lowercase().into()).collect()
    }

    /// The labels of proxies that it asks for.
    pub fn asked_labels(&self) -> BTreeSet<Label> {
        let conditions = self.virtual_service().into_iter().flat_map(VirtualService::sources);
        let sources = conditions.flat_map(|source| source.labels);
        let selector = self.destination_rule().and_then(|rule| rule.workload_selector.as_ref());
        let selected = selector.into_iter().flat_map(|selector| &selector.match_labels);
        let selected = selected.chain(self.gateway().into_iter().flat_map(|gateway| &gateway.selector));
        sources.chain(selected).map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
    }

    /// The documents to which it delegates.
    pub fn delegates(&self) -> BTreeSet<DocumentId> {
        let rules = self.virtual_service().into_iter().flat_map(|rule| &rule.http);
        let named = rules.filter_map(|http| http.delegate.as_ref());
        named.map(|delegate| delegate.document(&self.version.id.namespace)).collect()
    }

    /// The namespaces whose proxies may see something else because of it.
    pub fn viewers(&self) -> BTreeSet<Arc<str>> {
        let own = &self.version.id.namespace;
        let (export_to, is_of_own) = match &self.version.spec {
            Spec::VirtualService(rule) => (&rule.export_to, false),
            // Proxies of its namespace use it before that of the service's namespace, whoever else does.
            Spec::DestinationRule(rule) => (&rule.export_to, true),
            // Who sees its services is said by these.
            Spec::ServiceEntry(_) | Spec::WorkloadEntry(_) => return BTreeSet::new(),
            // Whom it is for, its selector says.
            Spec::Gateway(_) => return BTreeSet::new(),
        };
        let named = export_to.iter().filter(|name| !matches!(name.as_str(), "*" | "~"));
        let named = named.map(|name| if name == "." { own } else { name });
        let conditions = self.virtual_service().into_iter().flat_map(VirtualService::sources);
        let sources = conditions.filter_map(|source| source.namespace);
        let own = is_of_own.then_some(own);
        named.chain(own).map(String::as_str).chain(sources).map(Into::into).collect()
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        let (many, one) = match &self.version.spec {
            Spec::VirtualService(rule) => (rule.hosts.as_slice(), None),
            Spec::DestinationRule(rule) => ([].as_slice(), Some(&rule.host)),
            Spec::ServiceEntry(entry) => (entry.hosts.as_slice(), None),
            Spec::WorkloadEntry(_) => ([].as_slice(), None),
            Spec::Gateway(_) => ([].as_slice(), None),
        };
        many.iter().chain(one).map(String::as_str)
    }

    /// What it says, if it is a VirtualService.
    pub fn virtual_service(&self) -> Option<&VirtualService> {
        match &self.version.spec {
            Spec::VirtualService(rule) => Some(rule),
            _ => None,
        }
    }

    /// What it says, if it is a DestinationRule.
    pub fn destination_rule(&self) -> Option<&DestinationRule> {
        match &self.version.spec {
            Spec::DestinationRule(rule) => Some(rule),
            _ => None,
        }
    }

    /// What it says, if it is a ServiceEntry.
    pub fn service_entry(&self) -> Option<&ServiceEntry> {
        match &self.version.spec {
            Spec::ServiceEntry(entry) => Some(entry),
            _ => None,
        }
    }

    /// What it says, if it is a WorkloadEntry.
    pub fn workload_entry(&self) -> Option<&WorkloadEntry> {
        match &self.version.spec {
            Spec::WorkloadEntry(entry) => Some(entry),
            _ => None,
        }
    }

    /// What it says, if it is a Gateway.
    pub fn gateway(&self) -> Option<&Gateway> {
        match &self.version.spec {
            Spec::Gateway(gateway) => Some(gateway),
            _ => None,
        }
    }

    /// The Gateways at which it counts, as `NAMESPACE/NAME`.
    pub fn gateways(&self) -> impl Iterator<Item = &str> {
        let named = self.virtual_service().into_iter().flat_map(|rule| &rule.gateways);
        named.map(String::as_str).filter(|name| *name != MESH)
    }

    /// How VirtualServices name it, if it is a Gateway.
    pub fn gateway_name(&self) -> String {
        format!("{}/{}", self.version.id.namespace, self.version.id.name)
    }
}

impl Spec {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::VirtualService(_) => Kind::VirtualService,
            Self::DestinationRule(_) => Kind::DestinationRule,
            Self::ServiceEntry(_) => Kind::ServiceEntry,
            Self::WorkloadEntry(_) => Kind::WorkloadEntry,
            Self::Gateway(_) => Kind::Gateway,
        }
    }
}
