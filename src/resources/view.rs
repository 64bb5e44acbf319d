//! What one proxy may be told: some layers, one upon another.
//!
//! ```text
//!  View ── top ──► Layer ── says: a resource, or nothing ──┐ the topmost layer that says something of a name
//!             ──► Layer                                    │ is right
//!             ──► Layer ── the base has all that is common ┘
//! ```
//!
//! A view costs a pointer for each layer. Proxies that see the same layers share one view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::set::version_of;
use super::{Layer, PerType, Resource, ResourceType, TypeSet};

/// All resources that one proxy may be told.
#[derive(Debug)]
pub struct View {
    /// The topmost comes first, the base last. There is at least one.
    layers: Box<[Arc<Layer>]>,
    totals: PerType<OnceLock<Totals>>,
    /// What differs from the view that it was compared with last: mostly the one before, by all of its streams.
    since: Mutex<Option<(Weak<View>, Arc<Changes>)>>,
}

#[derive(Debug)]
struct Totals {
    version: Box<str>,
    len: usize,
}

/// What became of one name.
#[derive(Clone, Debug)]
pub struct ResourceChange {
    /// The resource's name.
    pub name: Arc<str>,
    /// The resource as it was; `None` when it was not there.
    pub before: Option<Arc<Resource>>,
    /// The resource as it is now; `None` when it is gone.
    pub resource: Option<Arc<Resource>>,
}

/// What differs between two views, by type.
#[derive(Clone, Debug, Default)]
pub struct Changes(PerType<Vec<ResourceChange>>);

impl Changes {
    /// The changes of one type, ordered by name, each name once.
    pub fn of(&self, kind: ResourceType) -> &[ResourceChange] {
        &self.0[kind]
    }

    /// Whether nothing differs at all.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Vec::is_empty)
    }
}

impl View {
    /// A view of these layers, the topmost first, and of the base below them.
    pub fn new(above: impl IntoIterator<Item = Arc<Layer>>, base: Arc<Layer>) -> Self {
        let layers = above.into_iter().chain([base]).collect();
        Self { layers, totals: PerType::default(), since: Mutex::default() }
    }

    /// A view of one layer that has these resources.
    pub fn of_sets(sets: PerType<TypeSet>) -> Self {
        Self::new([], Arc::new(Layer::of(1, Instant::now(), sets)))
    }

    /// The same with these resources above it.
    #[must_use]
    pub fn under(self: &Arc<Self>, sets: PerType<TypeSet>) -> Arc<Self> {
        let changed = self.changed().unwrap_or_else(Instant::now);
        let above = Arc::new(Layer::of(self.generation(), changed, sets));
        let layers = [above].into_iter().chain(self.layers.iter().cloned()).collect();
        Arc::new(Self { layers, totals: PerType::default(), since: Mutex::default() })
    }

    /// Its layers, the topmost first.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// The number of the mesh that changed it last.
    pub fn generation(&self) -> u64 {
        self.layers.iter().map(|layer| layer.generation).max().unwrap_or_default()
    }

    /// When the change that led to it was published by a registry.
    pub fn changed(&self) -> Option<Instant> {
        self.layers.iter().map(|layer| layer.changed).max()
    }

    /// The resources of one type.
    pub fn of(&self, kind: ResourceType) -> TypeView<'_> {
        TypeView { view: self, kind }
    }

    /// What differs from an earlier view, or from one of another proxy. Costs what differs between layers that came
    /// from one another.
    pub fn changes_since(self: &Arc<Self>, earlier: &Arc<Self>) -> Arc<Changes> {
        if Arc::ptr_eq(self, earlier) {
            return Arc::default();
        }
        let mut since = self.since.lock();
        if let Some((known, changes)) = &*since
            && Weak::as_ptr(known) == Arc::as_ptr(earlier)
        {
            return Arc::clone(changes);
        }
        let changes = Arc::new(Changes(PerType::of(|kind| self.of(kind).changes_since(earlier.of(kind)))));
        *since = Some((Arc::downgrade(earlier), Arc::clone(&changes)));
        changes
    }

    fn above(&self) -> &[Arc<Layer>] {
        self.layers.split_last().map_or(&[], |(_, above)| above)
    }

    fn base(&self) -> Option<&Layer> {
        self.layers.last().map(|base| &**base)
    }
}

/// The resources of one type in a view.
#[derive(Clone, Copy, Debug)]
pub struct TypeView<'a> {
    view: &'a View,
    kind: ResourceType,
}

impl<'a> TypeView<'a> {
    /// The type.
    pub fn kind(self) -> ResourceType {
        self.kind
    }

    /// The resource of that name.
    pub fn get(self, name: &str) -> Option<&'a Arc<Resource>> {
        self.view.layers.iter().find_map(|layer| layer.get(self.kind, name)).flatten()
    }

    /// The resources, ordered by name.
    pub fn iter(self) -> impl Iterator<Item = &'a Arc<Resource>> {
        let mut own = self.said_above().into_iter().peekable();
        let mut base =
            self.view.base().into_iter().flat_map(move |base| base.sets[self.kind].iter()).peekable();
        std::iter::from_fn(move || {
            loop {
                let first = match (own.peek(), base.peek()) {
                    (None, _) => return base.next(),
                    (Some((name, _)), Some(below)) if *below.name() < **name => return base.next(),
                    (Some((name, said)), below) => {
                        let said = *said;
                        if below.is_some_and(|below| *below.name() == **name) {
                            base.next();
                        }
                        said
                    }
                };
                own.next();
                if first.is_some() {
                    return first;
                }
            }
        })
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.totals().len
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// A hash of all names and versions. Views of equal content have equal versions, whatever their layers.
    pub fn version(self) -> &'a str {
        &self.totals().version
    }

    fn totals(self) -> &'a Totals {
        self.view.totals[self.kind].get_or_init(|| {
            let Some(base) = self.view.base().map(|base| &base.sets[self.kind]) else {
                return Totals { version: Box::default(), len: 0 };
            };
            let (mut fingerprint, mut len) = (base.fingerprint(), base.len());
            for (name, said) in self.said_above() {
                if let Some(below) = base.get(name) {
                    fingerprint = fingerprint.wrapping_sub(below.fingerprint());
                    len -= 1;
                }
                if let Some(own) = said {
                    fingerprint = fingerprint.wrapping_add(own.fingerprint());
                    len += 1;
                }
            }
            let given = base.given_version().filter(|_| self.view.above().is_empty());
            let version = given.map_or_else(|| version_of(fingerprint, len), Into::into);
            Totals { version, len }
        })
    }

    /// What layers above the base say of names.
    fn said_above(self) -> BTreeMap<&'a Arc<str>, Option<&'a Arc<Resource>>> {
        let mut said = BTreeMap::new();
        for layer in self.view.above() {
            for name in layer.names(self.kind) {
                said.entry(name).or_insert_with(|| layer.get(self.kind, name).flatten());
            }
        }
        said
    }

    fn changes_since(self, earlier: TypeView<'a>) -> Vec<ResourceChange> {
        let change = |name: &Arc<str>| {
            let (before, resource) = (earlier.get(name).cloned(), self.get(name).cloned());
            let name = Arc::clone(name);
            (before != resource).then_some(ResourceChange { name, before, resource })
        };
        self.touched_since(earlier).into_iter().filter_map(change).collect()
    }

    /// The names of which layers say different things in both views.
    fn touched_since(self, earlier: TypeView<'a>) -> BTreeSet<&'a Arc<str>> {
        let (ours, theirs) = (&self.view.layers, &earlier.view.layers);
        let mut touched = BTreeSet::new();
        if ours.len() == theirs.len() {
            for (our, their) in ours.iter().zip(theirs).filter(|(our, their)| !Arc::ptr_eq(our, their)) {
                touched.extend(their.differing(our, self.kind));
            }
            return touched;
        }
        // One sees more layers than the other: these are compared whole.
        if let (Some(our), Some(their)) = (self.view.base(), earlier.view.base()) {
            touched.extend(their.differing(our, self.kind));
        }
        let is_shared = |layer: &&Arc<Layer>| {
            ours.iter().any(|our| Arc::ptr_eq(our, layer))
                && theirs.iter().any(|their| Arc::ptr_eq(their, layer))
        };
        for layer in self.view.above().iter().chain(earlier.view.above()).filter(|layer| !is_shared(layer)) {
            touched.extend(layer.names(self.kind));
        }
        touched
    }
}

#[cfg(test)]
mod tests;
