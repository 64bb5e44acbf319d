//! How near an endpoint is to a proxy.

use pilot_registry::Locality;

use crate::catalog::CatalogService;

/// How much of two localities is the same. The smaller is the nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proximity {
    SubZone,
    Zone,
    Region,
    Elsewhere,
}

impl Proximity {
    /// How near something is. What is unknown is near to nothing: an empty locality has everything
    /// elsewhere. A zone is the same only in the same region, because zones may share names.
    pub(super) fn of(own: &Locality, other: &Locality) -> Self {
        let same_region = own.region == other.region;
        let same_zone = same_region && own.zone == other.zone;
        if same_zone && own.sub_zone == other.sub_zone && !own.sub_zone.is_empty() {
            Self::SubZone
        } else if same_zone && !own.zone.is_empty() {
            Self::Zone
        } else if same_region && !own.region.is_empty() {
            Self::Region
        } else {
            Self::Elsewhere
        }
    }

    /// Whether a service has endpoints that are nearer than others.
    pub(super) fn matters(service: &CatalogService, own: &Locality) -> bool {
        let mut all = service.endpoints().map(|(_, endpoint)| Self::of(own, &endpoint.locality));
        let first = all.next();
        all.any(|other| Some(other) != first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locality([region, zone, sub_zone]: [&str; 3]) -> Locality {
        Locality { region: region.into(), zone: zone.into(), sub_zone: sub_zone.into() }
    }

    #[test]
    fn what_is_shared_is_near_and_what_is_unknown_is_not() {
        let own = ["eu", "a", "r1"];
        for (other, expected) in [
            (["eu", "a", "r1"], Proximity::SubZone),
            (["eu", "a", "r2"], Proximity::Zone),
            (["eu", "a", ""], Proximity::Zone),
            (["eu", "b", "r1"], Proximity::Region),
            (["eu", "", ""], Proximity::Region),
            (["us", "a", "r1"], Proximity::Elsewhere),
            (["", "a", "r1"], Proximity::Elsewhere),
            (["", "", ""], Proximity::Elsewhere),
        ] {
            assert_eq!(Proximity::of(&locality(own), &locality(other)), expected, "{other:?}");
        }
        let nowhere = locality(["", "", ""]);
        assert_eq!(Proximity::of(&nowhere, &nowhere), Proximity::Elsewhere);
        let zone_only = locality(["", "a", ""]);
        assert_eq!(Proximity::of(&zone_only, &zone_only), Proximity::Zone);
        assert_eq!(Proximity::of(&zone_only, &nowhere), Proximity::Elsewhere);
    }
}
