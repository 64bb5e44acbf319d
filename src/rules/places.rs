//! What documents ask about where proxies are, and by which of their labels they order endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdSet;
use pilot_registry::Locality;

use super::DocumentId;
use super::kinds::LocalityLoadBalancing;
use super::ruling::Ruling;

/// What the documents in force ask about where proxies are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The places that are told apart, whether endpoints are there or not. Of every document to which it matters where
    /// proxies are, there is one at least.
    origins: OrdSet<(Locality, DocumentId)>,
    /// The keys of labels by which endpoints are ordered.
    labels: OrdSet<(Arc<str>, DocumentId)>,
}

impl Places {
    /// Whether it matters to no document where proxies are.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// As much of a place as some document names: all, region and zone, region, or nothing.
    pub fn named_part(&self, of: &Locality) -> Locality {
        let Locality { region, zone, .. } = of.clone();
        let in_zone = Locality { region: region.clone(), zone, sub_zone: String::new() };
        let in_region = Locality { region, ..Locality::default() };
        let all = [of.clone(), in_zone, in_region];
        let named = |place: &Locality| documents(&self.origins, place).next().is_some();
        all.into_iter().find(named).unwrap_or_default()
    }

    /// The keys of the labels by which endpoints are ordered: those that share the proxy's value come first.
    pub fn labels(&self) -> BTreeSet<&Arc<str>> {
        self.labels.iter().map(|(key, _)| key).collect()
    }

    /// Whether some document orders endpoints by labels.
    pub fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// The documents that order endpoints by that label.
    pub fn ordering_by<'a>(&'a self, key: &'a Arc<str>) -> impl Iterator<Item = &'a DocumentId> {
        documents(&self.labels, key)
    }

    /// Whether both tell proxies apart in the same way.
    pub fn same(&self, other: &Self) -> bool {
        let origins = |it: &Self| it.origins.iter().map(|(place, _)| place.clone()).collect::<BTreeSet<_>>();
        let is_same_set = self.origins.ptr_eq(&other.origins) && self.labels.ptr_eq(&other.labels);
        is_same_set || self.labels() == other.labels() && origins(self) == origins(other)
    }

    pub(super) fn add(&mut self, ruling: &Ruling) {
        let id = &ruling.version.id;
        self.origins.extend(origins(ruling).into_iter().map(|place| (place, id.clone())));
        self.labels.extend(labels(ruling).into_iter().map(|key| (key, id.clone())));
    }

    pub(super) fn remove(&mut self, ruling: &Ruling) {
        let id = &ruling.version.id;
        origins(ruling).into_iter().for_each(|place| _ = self.origins.remove(&(place, id.clone())));
        labels(ruling).into_iter().for_each(|key| _ = self.labels.remove(&(key, id.clone())));
    }
}

/// The documents that have a value.
fn documents<'a, T: Ord + Clone>(
    all: &'a OrdSet<(T, DocumentId)>,
    value: &'a T,
) -> impl Iterator<Item = &'a DocumentId> {
    let from = all.range((value.clone(), DocumentId::FIRST)..);
    from.take_while(move |(other, _)| other == value).map(|(_, id)| id)
}

fn labels(ruling: &Ruling) -> BTreeSet<Arc<str>> {
    let settings = ruling.destination_rule().into_iter().flat_map(|rule| rule.places());
    settings.flat_map(LocalityLoadBalancing::labels).map(Arc::from).collect()
}

fn origins(ruling: &Ruling) -> BTreeSet<Locality> {
    let settings = ruling.destination_rule().into_iter().flat_map(|rule| rule.places());
    let on = settings.filter(|setting| setting.is_on());
    on.flat_map(|setting| setting.origins().chain([Locality::default()])).collect()
}
