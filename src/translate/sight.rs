//! What clients of one namespace see of a service that they do not see as everybody does.

use std::sync::Arc;

use imbl::OrdMap;
use pilot_registry::ServiceId;

use super::claims::Grants;
use super::entrances::Entrances;
use crate::catalog::CatalogService;

/// What clients of one namespace see otherwise, by service.
pub(super) type Sights = OrdMap<ServiceId, Seen>;

/// One service, in their eyes, as rules were at some moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) sight: Sight,
    /// Counts the moments at which rules may have said something else of it. 0 = none says anything.
    pub(super) ruled: u64,
}

/// One service, in their eyes.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// Everybody sees it, and they do not: they see another of that host. What everybody has of it.
    Hidden(Arc<Entrances>),
    /// As everybody sees it, with further names.
    Named(Arc<Entrances>),
    /// Everybody sees it, and in their eyes it has something else.
    Other {
        /// What everybody has of it.
        entrances: Arc<Entrances>,
        /// What it has in their eyes.
        grants: Arc<Grants>,
    },
    /// They see it, and not everybody does.
    Scoped {
        /// The service.
        service: Arc<CatalogService>,
        /// What it has in their eyes.
        grants: Arc<Grants>,
    },
}

/// The same allocations, and the same grants.
impl PartialEq for Sight {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hidden(one), Self::Hidden(other)) | (Self::Named(one), Self::Named(other)) => {
                Arc::ptr_eq(one, other)
            }
            (
                Self::Other { entrances: one, grants },
                Self::Other { entrances: other, grants: other_grants },
            ) => Arc::ptr_eq(one, other) && grants == other_grants,
            (
                Self::Scoped { service: one, grants },
                Self::Scoped { service: other, grants: other_grants },
            ) => Arc::ptr_eq(one, other) && grants == other_grants,
            _ => false,
        }
    }
}
