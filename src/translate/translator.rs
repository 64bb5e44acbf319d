//! One scope's translation, kept up to date.
//!
//! ```text
//!  Common    clusters, endpoints, listeners, routes            once for all of a role (a Memo)
//!     └──► Local    names that clients of a namespace use      once for each namespace, where there are some
//!            └──► Nearby   endpoints nearer or farther         once for each locality, where they differ
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pilot_registry::{Locality, Namespace};

use super::Translation;
use super::common::Common;
use super::local::Local;
use super::nearby::Nearby;
use crate::mesh::Mesh;
use crate::proxy::Scope;

/// Translates one mesh after another for one scope. The result is that of [`super::translate`], and a
/// resource that did not change is the same allocation as before.
#[derive(Debug)]
pub struct Translator {
    scope: Scope,
    memo: Memo,
    local: Option<Arc<Mutex<Local>>>,
    nearby: Option<Arc<Mutex<Nearby>>>,
}

/// What translators of scopes that differ only in their locality and namespace share.
#[derive(Clone, Debug)]
pub struct Memo {
    /// Held for a whole translation: whoever only comes or goes must not need it.
    common: Arc<Mutex<Common>>,
    /// Held to look something up, and never while translating.
    layers: Arc<Mutex<Layers>>,
}

/// What is different for some.
#[derive(Debug, Default)]
struct Layers {
    locals: Layer<Namespace, Local>,
    nearbys: Layer<Locality, Nearby>,
}

/// What is different by one key, for as long as a translator uses it.
#[derive(Debug)]
struct Layer<K, L>(BTreeMap<K, Weak<Mutex<L>>>);

impl<K, L> Default for Layer<K, L> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, L> Layer<K, L> {
    fn get(&mut self, key: &K, new: impl FnOnce() -> L) -> Arc<Mutex<L>> {
        if let Some(known) = self.0.get(key).and_then(Weak::upgrade) {
            return known;
        }
        self.0.retain(|_, layer| layer.strong_count() > 0);
        let layer = Arc::new(Mutex::new(new()));
        self.0.insert(key.clone(), Arc::downgrade(&layer));
        layer
    }
}

impl Memo {
    /// What translators of this scope, at any locality and in any namespace, share. It knows nothing yet.
    pub fn new(scope: &Scope) -> Self {
        Self { common: Arc::new(Mutex::new(Common::new(scope))), layers: Arc::default() }
    }
}

impl Translator {
    /// A translator that knows nothing yet.
    pub fn new(scope: Scope) -> Self {
        let memo = Memo::new(&scope);
        Self::sharing(scope, memo)
    }

    /// A translator that shares what is equal with those of other localities and namespaces: all resources but
    /// endpoints whose distance matters, and routes in which names of the namespace are. The memo is one of a
    /// scope that differs from this one in these two only. Waits for no translation.
    pub fn sharing(scope: Scope, memo: Memo) -> Self {
        let mut layers = lock(&memo.layers);
        let local = scope.namespace.as_ref();
        let local = local.map(|namespace| layers.locals.get(namespace, || Local::new(namespace)));
        let place = Some(&scope.locality).filter(|locality| **locality != Locality::default());
        let nearby = place.map(|locality| layers.nearbys.get(locality, || Nearby::new(&scope)));
        drop(layers);
        Self { scope, memo, local, nearby }
    }

    /// The scope that it translates for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Translates a mesh.
    pub fn translate(&mut self, mesh: &Mesh) -> Translation {
        // Held to the end: what is different is made from what all of it is in common.
        let common = &mut *lock(&self.memo.common);
        let mut translation = common.translate(mesh);
        let config_source = common.config_source();
        if let Some((local, world)) = self.local.as_ref().zip(common.world()) {
            translation.types = lock(local).translate(world, config_source, translation.types);
        }
        match &self.nearby {
            Some(nearby) => lock(nearby).translate(mesh, config_source, translation),
            None => translation,
        }
    }
}

/// A panic while translating is a bug, after which what is kept may be of two meshes: better than nothing for
/// ever.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::proxy::{ConfigSource, Role};

    #[test]
    fn who_comes_while_a_translation_is_in_progress_does_not_wait_for_it() {
        let locality = Locality { region: "eu".to_owned(), ..Locality::default() };
        let namespace = Some("shop".to_owned().try_into().unwrap());
        let scope = Scope { locality, namespace, ..Scope::new(Role::Router, ConfigSource::Ads) };
        let memo = Memo::new(&scope);
        let in_progress = lock(&memo.common);
        let (tx, rx) = mpsc::sync_channel(1);
        let coming = memo.clone();
        let thread = thread::spawn(move || {
            let translator = Translator::sharing(scope, coming);
            tx.send(translator.nearby.is_some() && translator.local.is_some()).unwrap();
        });
        let come = rx.recv_timeout(Duration::from_secs(10));
        drop(in_progress);
        thread.join().unwrap();
        assert_eq!(come, Ok(true));
    }
}
