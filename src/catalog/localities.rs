//! The localities at which a mesh has endpoints.
//!
//! A proxy's own locality is reduced to one of these. So proxies in places without endpoints share one
//! configuration, and clients cannot create work by inventing places.

use std::collections::BTreeSet;

use pilot_registry::Locality;

use super::counts::Counts;
use super::service::CatalogService;

/// The localities of all endpoints, and how many services have endpoints there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Localities(Counts<Locality>);

impl Localities {
    /// A service came.
    pub(super) fn add(&mut self, service: &CatalogService) {
        self.0.add(of(service));
    }

    /// A service went.
    pub(super) fn remove(&mut self, service: &CatalogService) {
        self.0.remove(of(service));
    }

    /// Whether both know the same localities.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.0.has_the_values_of(&other.0)
    }

    /// As much of the locality as some endpoint shares: all, region and zone, region, or nothing.
    pub(super) fn known_part(&self, of: &Locality) -> Locality {
        let Locality { region, zone, sub_zone } = of;
        let place =
            |zone: &str| Locality { region: region.clone(), zone: zone.to_owned(), sub_zone: String::new() };
        let first_from = |place: &Locality| self.0.first_from(place.clone());
        if !sub_zone.is_empty() && self.0.contains(of) {
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
