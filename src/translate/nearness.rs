//! Which endpoints are used first, by where they and the proxy are, and which get a share of their own.
//!
//! What a DestinationRule says counts in place of `[mesh] locality`. Whether endpoints fail is another matter: a priority is
//! left when too few of its endpoints are healthy, whoever finds that out.

use std::collections::BTreeMap;

use pilot_registry::{Endpoint, Locality};

use super::place::Place;
use super::proximity::Proximity;
use crate::rules::kinds::{Distribute, Failover, LocalityLoadBalancing, PLACE_LABELS, place};

/// A weight of 1 percent: places of one share divide it among themselves.
const PERCENT: u64 = 1_000_000;

/// What the place of a proxy means for the endpoints of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Nearness<'a> {
    /// Nothing.
    Ignored,
    /// The nearest are used first.
    Near,
    /// Those that share the most labels are used first; among equals the nearest, and a region that takes over before others.
    Ordered { labels: &'a [String], failover: &'a [Failover] },
    /// Places have shares.
    Shared(&'a [Distribute]),
}

/// How many labels an endpoint does not share, and how far it is. The smaller is used first.
type Distance = (usize, u8);

impl<'a> Nearness<'a> {
    /// What a document says, or else pilot.toml.
    pub(super) fn of(setting: Option<&'a LocalityLoadBalancing>, prefers_near: bool) -> Self {
        let usual = if prefers_near { Self::Near } else { Self::Ignored };
        let Some(setting) = setting else { return usual };
        if !setting.is_on() {
            // Nothing but `{}` leaves it to pilot.toml.
            return if setting.enabled.is_none() { usual } else { Self::Ignored };
        }
        let (failover, labels) = (setting.failover.as_slice(), setting.failover_priority.as_slice());
        match setting.distribute.as_slice() {
            [] if failover.is_empty() && labels.is_empty() => Self::Near,
            [] => Self::Ordered { labels, failover },
            shares => Self::Shared(shares),
        }
    }

    /// How far an endpoint is.
    pub(super) fn distance(self, at: Place<'_>, endpoint: &Endpoint) -> Distance {
        let far = |failover: &[Failover]| match Proximity::of(at.locality, &endpoint.locality) {
            Proximity::Elsewhere if failover.is_empty() => 3,
            Proximity::Elsewhere => {
                if takes_over(failover, at.locality, &endpoint.locality) {
                    3
                } else {
                    4
                }
            }
            near => near as u8,
        };
        match self {
            Self::Ignored | Self::Shared(_) => (0, 0),
            Self::Near => (0, far(&[])),
            Self::Ordered { labels, failover: [] } => (unshared(labels, at, endpoint), 0),
            Self::Ordered { labels, failover } => (unshared(labels, at, endpoint), far(failover)),
        }
    }

    /// The shares of places, where the proxy's place has any.
    pub(super) fn shares(self, at: Place<'_>) -> Option<&'a Distribute> {
        let Self::Shared(all) = self else { return None };
        all.iter().find(|one| is_within(at.locality, &one.from))
    }
}

/// Whether an endpoint is at one of the places that have a share.
pub(super) fn has_share(shares: &Distribute, endpoint: &Endpoint) -> bool {
    shares.to.keys().any(|to| is_within(&endpoint.locality, to))
}

/// What each locality weighs, of those that are there with the weights of their endpoints: localities at one place divide its
/// share.
pub(super) fn divide<'b>(
    shares: &Distribute,
    localities: impl Iterator<Item = (&'b Locality, u64)> + Clone,
) -> BTreeMap<&'b Locality, u32> {
    let mut weights = BTreeMap::new();
    for (to, percent) in &shares.to {
        let there = localities.clone().filter(|(locality, _)| is_within(locality, to));
        let total: u64 = there.clone().map(|(_, weight)| weight).sum();
        for (locality, weight) in there {
            let share =
                u128::from(PERCENT) * u128::from(*percent) * u128::from(weight) / u128::from(total.max(1));
            weights.insert(locality, u32::try_from(share.max(1)).unwrap_or(u32::MAX));
        }
    }
    weights
}

/// Whether a locality is at a place as documents write it.
pub(super) fn is_within(locality: &Locality, text: &str) -> bool {
    let place = place(text);
    let is_part = |part: &str, own: &str| part.is_empty() || part == own;
    is_part(&place.region, &locality.region)
        && is_part(&place.zone, &locality.zone)
        && is_part(&place.sub_zone, &locality.sub_zone)
}

fn takes_over(failover: &[Failover], own: &Locality, other: &Locality) -> bool {
    failover.iter().any(|one| one.from == own.region && one.to == other.region)
}

/// From the first label on that an endpoint does not share, none counts.
fn unshared(labels: &[String], at: Place<'_>, endpoint: &Endpoint) -> usize {
    labels.len() - labels.iter().take_while(|label| is_shared(label, at, endpoint)).count()
}

fn is_shared(label: &str, Place { locality: own, affinity }: Place<'_>, endpoint: &Endpoint) -> bool {
    let other = &endpoint.locality;
    let has = |key: &str| match PLACE_LABELS.iter().position(|known| *known == key) {
        Some(part) => [&other.region, &other.zone, &other.sub_zone][part].as_str(),
        None => endpoint.labels.get(key).map_or("", String::as_str),
    };
    if let Some((key, value)) = label.split_once('=') {
        return has(key) == value;
    }
    let is_in_region = own.region == other.region;
    let is_in_zone = is_in_region && own.zone == other.zone;
    // The name of a zone means nothing outside of its region.
    match PLACE_LABELS.iter().position(|known| *known == label) {
        Some(0) => is_in_region,
        Some(1) => is_in_zone,
        Some(_) => is_in_zone && own.sub_zone == other.sub_zone,
        None => match affinity.get(label) {
            Some(value) => value.as_deref() == Some(has(label)),
            None => has(label).is_empty(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Locality {
        place(text)
    }

    #[test]
    fn localities_at_one_place_divide_its_share() {
        let shares = Distribute {
            from: "a".into(),
            to: [("north/*".to_owned(), 80), ("south".to_owned(), 20)].into(),
        };
        let (one, two, south) = (at("north/1"), at("north/2"), at("south/1/x"));
        let weights = divide(&shares, [(&one, 3), (&two, 1), (&south, 7)].into_iter());
        assert_eq!(weights, [(&one, 60_000_000), (&two, 20_000_000), (&south, 20_000_000)].into());
        let huge = divide(&shares, [(&one, u64::from(u32::MAX)), (&two, 1)].into_iter());
        assert_eq!((huge[&one], huge[&two]), (79_999_999, 1), "nobody is left out");
    }

    #[test]
    fn a_place_is_within_itself_and_what_ends_with_a_star() {
        let own = at("north/a/r1");
        for (text, is_it) in [
            ("*", true),
            ("north", true),
            ("north/*", true),
            ("north/a/*", true),
            ("north/a/r1", true),
            ("north/a/r2", false),
            ("north/b", false),
            ("south/*", false),
        ] {
            assert_eq!(is_within(&own, text), is_it, "{text}");
        }
    }
}
