//! Where a mesh has endpoints at all.
//!
//! Localities that proxies tell are reduced to these, so that proxies of places without endpoints share
//! what they are told, and nobody makes pilot work by inventing places.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::Locality;

use super::merge::CatalogService;

/// The localities of all endpoints, and how many services have endpoints there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Localities(Arc<BTreeMap<Locality, usize>>);

impl Localities {
    /// A service came.
    pub(super) fn add(&mut self, service: &CatalogService) {
        for locality in of(service) {
            *Arc::make_mut(&mut self.0).entry(locality.clone()).or_default() += 1;
        }
    }

    /// A service went.
    pub(super) fn remove(&mut self, service: &CatalogService) {
        for locality in of(service) {
            let counts = Arc::make_mut(&mut self.0);
            match counts.get_mut(locality) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(counts.remove(locality)),
            }
        }
    }

    /// As much of the locality as some endpoint shares: all, region and zone, region, or nothing.
    pub(super) fn known_part(&self, of: &Locality) -> Locality {
        let Locality { region, zone, sub_zone } = of;
        let place =
            |zone: &str| Locality { region: region.clone(), zone: zone.to_owned(), sub_zone: String::new() };
        let first_from = |place: &Locality| self.0.range(place.clone()..).next().map(|(found, _)| found);
        if !sub_zone.is_empty() && self.0.contains_key(of) {
            return of.clone();
        }
        let in_zone = place(zone);
        if !zone.is_empty()
            && first_from(&in_zone).is_some_and(|found| found.region == *region && found.zone == *zone)
        {
            return in_zone;
        }
        let in_region = place("");
        if !region.is_empty() && first_from(&in_region).is_some_and(|found| found.region == *region) {
            return in_region;
        }
        Locality::default()
    }
}

fn of(service: &CatalogService) -> BTreeSet<&Locality> {
    service.endpoints().map(|(_, endpoint)| &endpoint.locality).collect()
}
