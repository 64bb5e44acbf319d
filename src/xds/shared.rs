//! What the machines of all streams share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::builds::Builds;
use super::names::NameLists;
use super::rejections::Rejections;
use crate::resources::{PerType, Resource, ResourceType};

/// Of how many names of a type it is remembered that they were taken from a response that was refused.
const UNTOLD_MAX: usize = 4096;

/// What the machines of all streams share.
#[derive(Debug, Default)]
pub struct Shared {
    /// What proxies refuse.
    pub rejections: Rejections,
    /// What new proxies are spared of it.
    pub builds: Builds,
    /// The names that clients ask for.
    pub lists: NameLists,
    /// What clients took from responses that they refused for another reason. They do not tell of it when they come
    /// back, so what is gone by then is taken away by name.
    pub untold: Untold,
    /// What was composed of parts.
    pub composed: Composed,
}

/// Route configurations without some of their virtual hosts: streams that hold back the same send the same bytes.
#[derive(Debug, Default)]
pub struct Composed(Mutex<BTreeMap<Key, Weak<Resource>>>);

type Key = (Arc<str>, Box<str>);

impl Composed {
    /// The same resource, as another stream made it, if one still sends or holds it.
    pub fn share(&self, made: Arc<Resource>) -> Arc<Resource> {
        // What only one client is known to have has a version, and nothing that could be sent to another.
        if made.rope().is_some_and(|rope| !rope.is_known()) {
            return made;
        }
        let key = (Arc::clone(made.name()), made.version().into());
        let mut known = self.0.lock();
        if let Some(same) = known.get(&key).and_then(Weak::upgrade) {
            return same;
        }
        known.retain(|_, resource| resource.strong_count() > 0);
        known.insert(key, Arc::downgrade(&made));
        made
    }
}

/// Names that clients may have and not tell of.
#[derive(Debug, Default)]
pub struct Untold(Mutex<PerType<BTreeSet<Arc<str>>>>);

impl Untold {
    /// Notes that clients may not tell of these.
    pub fn note(&self, kind: ResourceType, names: impl IntoIterator<Item = Arc<str>>) {
        let known = &mut self.0.lock()[kind];
        names.into_iter().for_each(|name| _ = known.insert(name));
        while known.len() > UNTOLD_MAX {
            known.pop_first();
        }
    }

    /// All of one type.
    pub fn of(&self, kind: ResourceType) -> BTreeSet<Arc<str>> {
        self.0.lock()[kind].clone()
    }
}
