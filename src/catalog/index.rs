//! Indexes over a catalog, for everything that is not looked up by host. Each new catalog updates the indexes
//! of the one before, so a change costs only what it touches.

use super::addresses::Addresses;
use super::localities::Localities;
use super::names::NameIndex;
use super::namespaces::Namespaces;
use super::service::CatalogService;

/// Where there are endpoints, in which places and at which addresses, and whose clients may see something else than everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Indexes {
    pub(super) localities: Localities,
    pub(super) addresses: Addresses,
    pub(super) namespaces: Namespaces,
    pub(super) names: NameIndex,
}

impl Indexes {
    /// A service came, changed or went.
    pub(super) fn replace(&mut self, old: Option<&CatalogService>, new: Option<&CatalogService>) {
        new.into_iter().for_each(|new| self.localities.add(new));
        old.into_iter().for_each(|old| self.localities.remove(old));
        self.addresses.replace(old, new);
        self.namespaces.replace(old, new);
        self.names.replace(old, new);
    }
}
