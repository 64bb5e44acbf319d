//! Where a proxy is, as far as that makes a difference to the endpoints that it is told.

use pilot_registry::Locality;

use crate::proxy::Affinity;

/// From nowhere, everything is equally far.
pub(super) const NOWHERE: &Locality =
    &Locality { region: String::new(), zone: String::new(), sub_zone: String::new() };

/// Where a proxy is, as far as that makes a difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) locality: &'a Locality,
    /// Its labels that endpoints come first for sharing.
    pub(super) affinity: &'a Affinity,
}

impl Place<'_> {
    /// From there, everything is equally far.
    pub(super) const NOWHERE: Place<'static> = Place { locality: NOWHERE, affinity: &Affinity::new() };

    /// Whether everything is equally far from there.
    pub(super) fn is_nowhere(self) -> bool {
        self.locality == NOWHERE && self.affinity.is_empty()
    }
}
