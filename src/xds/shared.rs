//! What the machines of all streams share.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use imbl::OrdMap;
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
pub struct Composed(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: BTreeMap<(Arc<str>, Box<str>), Weak<Resource>>,
    /// How many there may be before those that nobody holds any more are looked for.
    enough: usize,
}

impl Composed {
    /// The same resource, as another stream made it, if one still sends or holds it.
    pub fn share(&self, made: Arc<Resource>) -> Arc<Resource> {
        // What only one client is known to have has a version, and nothing that could be sent to another.
        if made.rope().is_some_and(|rope| !rope.is_known()) {
            return made;
        }
        let key = (Arc::clone(made.name()), made.version().into());
        let mut known = self.0.lock();
        if let Some(same) = known.all.get(&key).and_then(Weak::upgrade) {
            return same;
        }
        // In all, what is looked at is twice what was put in.
        if known.all.len() >= known.enough {
            known.all.retain(|_, resource| resource.strong_count() > 0);
            known.enough = 16.max(known.all.len() * 2);
        }
        known.all.insert(key, Arc::downgrade(&made));
        made
    }
}

/// Names that clients may have and not tell of.
#[derive(Debug, Default)]
pub struct Untold(Mutex<PerType<Names>>);

/// Names, with the number under which each was noted last. A copy costs nothing.
pub type UntoldNames = OrdMap<Arc<str>, u64>;

#[derive(Debug, Default)]
struct Names {
    all: UntoldNames,
    /// The same by number.
    order: BTreeMap<u64, Arc<str>>,
    last: u64,
}

impl Untold {
    /// Notes that clients may not tell of these. Of too many, those go that were noted first.
    pub fn note(&self, kind: ResourceType, names: impl IntoIterator<Item = Arc<str>>) {
        let mut known = self.0.lock();
        names.into_iter().for_each(|name| known[kind].note(name));
    }

    /// All of one type.
    pub fn of(&self, kind: ResourceType) -> UntoldNames {
        self.0.lock()[kind].all.clone()
    }
}

impl Names {
    fn note(&mut self, name: Arc<str>) {
        self.last += 1;
        if let Some(before) = self.all.insert(Arc::clone(&name), self.last) {
            self.order.remove(&before);
        }
        self.order.insert(self.last, name);
        if self.all.len() > UNTOLD_MAX
            && let Some((_, first)) = self.order.pop_first()
        {
            self.all.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_names_those_that_were_noted_first_are_forgotten() {
        let untold = Untold::default();
        let name = |at: usize| Arc::<str>::from(format!("{at:05}"));
        untold.note(ResourceType::Cluster, (0..UNTOLD_MAX).rev().map(name));
        let before = untold.of(ResourceType::Cluster);
        // The last of all is noted again, the first of the alphabet is the newest.
        untold.note(ResourceType::Cluster, [name(UNTOLD_MAX - 1), "!".into()]);
        let now = untold.of(ResourceType::Cluster);
        assert_eq!((before.len(), now.len()), (UNTOLD_MAX, UNTOLD_MAX));
        let has =
            [name(UNTOLD_MAX - 1), name(UNTOLD_MAX - 2), name(0), "!".into()].map(|it| now.contains_key(&it));
        assert_eq!(has, [true, false, true, true]);
        assert!(before.contains_key(&name(UNTOLD_MAX - 2)), "who looks at it sees no change");
    }
}
