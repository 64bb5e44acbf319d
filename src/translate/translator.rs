//! One scope's translation, kept up to date.
//!
//! ```text
//!  Common    clusters, endpoints, listeners, routes     once for all localities (a Memo)
//!     └──► Nearby   endpoints that are nearer or farther    once for each locality, where they differ
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Translation;
use super::common::Common;
use super::nearby::Nearby;
use crate::mesh::Mesh;
use crate::proxy::Scope;

/// Translates one mesh after another for one scope. The result is that of [`super::translate`], and a
/// resource that did not change is the same allocation as before.
#[derive(Debug)]
pub struct Translator {
    scope: Scope,
    memo: Memo,
    nearby: Option<Nearby>,
}

/// What translators of scopes that differ only in their locality share.
#[derive(Clone, Debug)]
pub struct Memo(Arc<Mutex<Common>>);

impl Memo {
    /// What translators of this scope, at any locality, share. It knows nothing yet.
    pub fn new(scope: &Scope) -> Self {
        Self(Arc::new(Mutex::new(Common::new(scope))))
    }

    /// A panic while translating is a bug, after which what is kept may be of two meshes: better than
    /// nothing for ever.
    fn lock(&self) -> MutexGuard<'_, Common> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Translator {
    /// A translator that knows nothing yet.
    pub fn new(scope: Scope) -> Self {
        let memo = Memo::new(&scope);
        Self::sharing(scope, memo)
    }

    /// A translator that shares what is equal with those of other localities: all resources but endpoints
    /// whose distance matters. The memo is one of a scope that differs from this one in its locality only.
    pub fn sharing(scope: Scope, memo: Memo) -> Self {
        let nearby = (scope.anywhere() != scope).then(|| Nearby::new(&scope));
        Self { scope, memo, nearby }
    }

    /// The scope that it translates for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Translates a mesh.
    pub fn translate(&mut self, mesh: &Mesh) -> Translation {
        let mut common = self.memo.lock();
        let translation = common.translate(mesh);
        match &mut self.nearby {
            Some(nearby) => nearby.translate(mesh, common.config_source(), translation),
            None => translation,
        }
    }
}
