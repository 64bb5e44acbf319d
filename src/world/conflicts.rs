//! Logs new conflicts, each once, and sums up many. `pilot services` shows all current ones.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::catalog::Catalog;
use crate::proxy::Scope;
use crate::translate::Conflict;

/// How many new conflicts are told one by one.
pub(super) const ONE_BY_ONE: usize = 20;

/// What was said of the conflicts of scopes that share a base.
#[derive(Clone, Default)]
pub(super) struct ConflictLog(Arc<Mutex<Arc<[Conflict]>>>);

impl ConflictLog {
    /// Says in the log which conflicts are new, and which are over. They are in order.
    pub(super) fn tell(&self, scope: &Scope, conflicts: Arc<[Conflict]>) {
        let before = std::mem::replace(&mut *self.0.lock(), Arc::clone(&conflicts));
        if Arc::ptr_eq(&before, &conflicts) {
            return;
        }
        let new: Vec<_> = fresh(&before, &conflicts).collect();
        for conflict in new.iter().take(ONE_BY_ONE) {
            tracing::warn!(%scope, %conflict, "services conflict");
        }
        if let Some(more) = more(new.len()) {
            tracing::warn!(%scope, more, "services conflict about more: `pilot services` shows all");
        }
        let over: Vec<_> = fresh(&conflicts, &before).collect();
        for conflict in over.iter().take(ONE_BY_ONE) {
            tracing::info!(%scope, %conflict, "services no longer conflict");
        }
        if let Some(more) = more(over.len()) {
            tracing::info!(%scope, more, "services no longer conflict about more");
        }
    }
}

/// What is in `now` and was not `before`; both are in order.
fn fresh<'a>(before: &[Conflict], now: &'a [Conflict]) -> impl Iterator<Item = &'a Conflict> {
    now.iter().filter(|conflict| before.binary_search(conflict).is_err())
}

/// Says in the log what registries disagree about now and did not before, and what they agree about again.
pub(super) fn tell_disagreements(catalog: &Catalog, before: Option<&Catalog>) {
    let nothing = Catalog::default();
    let new: Vec<_> = catalog.disagreements_since(before.unwrap_or(&nothing)).collect();
    for (service, disagreement) in new.iter().take(ONE_BY_ONE) {
        tracing::warn!(%service, conflict = %disagreement, "registries disagree");
    }
    if let Some(more) = more(new.len()) {
        tracing::warn!(more, "registries disagree about more: `pilot services` shows all");
    }
    let over: Vec<_> = before.into_iter().flat_map(|before| before.disagreements_since(catalog)).collect();
    for (service, disagreement) in over.iter().take(ONE_BY_ONE) {
        tracing::info!(%service, conflict = %disagreement, "registries no longer disagree");
    }
    if let Some(more) = more(over.len()) {
        tracing::info!(more, "registries no longer disagree about more");
    }
}

/// How many are not told one by one.
pub(super) fn more(count: usize) -> Option<usize> {
    count.checked_sub(ONE_BY_ONE).filter(|more| *more > 0)
}
