//! Which of the services of one host clients see.
//!
//! Everybody sees the one without an owner. Clients of a namespace see, of those that they may see, the one of their own
//! namespace first, then one that names their namespace, then the one that everybody sees. Of several that name it, the
//! preferred registry's, then the one whose namespace comes first in the alphabet.

use std::cmp::Reverse;
use std::sync::Arc;

use pilot_registry::Namespace;

use super::service::CatalogService;

/// The one of these services of one host that clients of a namespace see; `None` = of no namespace in particular.
pub(crate) fn visible<'a>(
    of_host: impl IntoIterator<Item = &'a Arc<CatalogService>>,
    namespace: Option<&Namespace>,
) -> Option<&'a Arc<CatalogService>> {
    let may_see = |service: &&Arc<CatalogService>| match service.visibility().namespaces() {
        None => true,
        Some(namespaces) => namespace.is_some_and(|namespace| namespaces.contains(namespace)),
    };
    let rank = |service: &&'a Arc<CatalogService>| {
        let owner = service.id().owner.as_ref();
        let is_own = owner.is_some() && owner == namespace;
        (Reverse(is_own), owner.is_none(), service.parts()[0].priority, owner)
    };
    of_host.into_iter().filter(may_see).min_by_key(rank)
}
