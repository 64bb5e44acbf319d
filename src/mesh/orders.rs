//! The labels by which documents order endpoints, with the values that endpoints have.
//!
//! Of a proxy's labels, only these make a difference, and of their values only those that some endpoint has: clients cannot
//! create work by inventing labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use pilot_registry::Labels;

use super::Mesh;
use crate::catalog::CatalogService;
use crate::proxy::Affinity;
use crate::rules::{DocumentId, Rules};

/// The values of each label, of the services whose documents ask for it.
pub type LabelValues = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// Their values, as they were found last: when somebody asked, once for a mesh.
#[derive(Debug, Default)]
pub struct Orders(Mutex<Option<Found>>);

#[derive(Debug)]
struct Found {
    services: Arc<Vec<Arc<CatalogService>>>,
    rules: Rules,
    values: Arc<LabelValues>,
}

/// A copy may come to be of something else.
impl Clone for Orders {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Mesh {
    /// The labels by which documents order endpoints, each with the values that endpoints have. The first call looks at all
    /// endpoints of the services concerned.
    pub fn label_values(&self) -> Arc<LabelValues> {
        if !self.rules.places().has_labels() {
            return Arc::default();
        }
        let services = self.catalog.shared_services();
        let mut found = self.orders.0.lock();
        let is_of_this = |it: &&Found| Arc::ptr_eq(&it.services, services) && it.rules.same(&self.rules);
        if let Some(found) = found.as_ref().filter(is_of_this) {
            return Arc::clone(&found.values);
        }
        let values: LabelValues =
            self.rules.places().labels().into_iter().map(|key| self.values(key)).collect();
        let values = Arc::new(values);
        let (services, rules) = (Arc::clone(services), self.rules.clone());
        *found = Some(Found { services, rules, values: Arc::clone(&values) });
        values
    }

    /// A proxy's labels by which endpoints are ordered.
    pub(super) fn affinity(&self, labels: &Labels) -> Affinity {
        let known = self.label_values();
        let own = known.iter().filter_map(|(key, values)| {
            let value = labels.get(&**key).filter(|value| !value.is_empty())?;
            Some((Arc::clone(key), values.get(value.as_str()).cloned()))
        });
        own.collect()
    }

    fn values(&self, key: &Arc<str>) -> (Arc<str>, BTreeSet<Arc<str>>) {
        let services = self.rules.places().ordering_by(key).flat_map(|id| self.concerned(id));
        let services: BTreeMap<_, _> = services.map(|service| (service.id(), service)).collect();
        let endpoints = services.values().flat_map(|service| service.endpoints());
        let values = endpoints.filter_map(|(_, endpoint)| endpoint.labels.get(&**key));
        // Many endpoints have the same value.
        let values: BTreeSet<&str> = values.map(String::as_str).collect();
        (Arc::clone(key), values.into_iter().map(Arc::from).collect())
    }

    /// The services that a document may be about.
    fn concerned(&self, id: &DocumentId) -> Vec<&Arc<CatalogService>> {
        let rule = self.rules.get(id).and_then(|ruling| ruling.destination_rule());
        rule.map(|rule| self.meant(&rule.host, &id.namespace)).unwrap_or_default()
    }
}
