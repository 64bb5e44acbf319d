//! What the machines of all streams share.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use imbl::OrdMap;
use parking_lot::Mutex;

use super::builds::Builds;
use super::names::NameLists;
use super::rejections::Rejections;
use crate::proxy::Scope;
use crate::resources::{PerType, Resource, ResourceType};

/// Of how many names of a type, and in how many scopes, it is remembered that they were taken from a response that was
/// refused.
const UNTOLD_MAX: usize = 4096;
const SCOPES_MAX: usize = 64;

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

/// Names that clients may have and not tell of, by scope: what there is for one is not for others to hear of.
#[derive(Debug, Default)]
pub struct Untold(Mutex<BTreeMap<Option<Scope>, OfScope>>);

#[derive(Debug, Default)]
struct OfScope {
    names: PerType<Names>,
    /// The greater, the later something was noted.
    noted: u64,
}

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
    pub fn note(&self, scope: Option<&Scope>, kind: ResourceType, names: impl IntoIterator<Item = Arc<str>>) {
        let mut known = self.0.lock();
        let latest = known.values().map(|of| of.noted).max().unwrap_or_default();
        let of = known.entry(scope.cloned()).or_default();
        of.noted = latest + 1;
        names.into_iter().for_each(|name| of.names[kind].note(name));
        if known.len() > SCOPES_MAX {
            let oldest = known.iter().min_by_key(|(_, of)| of.noted).map(|(scope, _)| scope.clone());
            oldest.into_iter().for_each(|scope| _ = known.remove(&scope));
        }
    }

    /// All of one scope and type.
    pub fn of(&self, scope: Option<&Scope>, kind: ResourceType) -> UntoldNames {
        let known = self.0.lock();
        known.get(&scope.cloned()).map(|of| of.names[kind].all.clone()).unwrap_or_default()
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
    use crate::proxy::{ConfigSource, Role};

    #[test]
    fn of_too_many_names_those_that_were_noted_first_are_forgotten() {
        let untold = Untold::default();
        let name = |at: usize| Arc::<str>::from(format!("{at:05}"));
        untold.note(None, ResourceType::Cluster, (0..UNTOLD_MAX).rev().map(name));
        let before = untold.of(None, ResourceType::Cluster);
        // The last of all is noted again, the first of the alphabet is the newest.
        untold.note(None, ResourceType::Cluster, [name(UNTOLD_MAX - 1), "!".into()]);
        let now = untold.of(None, ResourceType::Cluster);
        assert_eq!((before.len(), now.len()), (UNTOLD_MAX, UNTOLD_MAX));
        let has =
            [name(UNTOLD_MAX - 1), name(UNTOLD_MAX - 2), name(0), "!".into()].map(|it| now.contains_key(&it));
        assert_eq!(has, [true, false, true, true]);
        assert!(before.contains_key(&name(UNTOLD_MAX - 2)), "who looks at it sees no change");
    }
    #[test]
    fn of_too_many_scopes_that_in_which_something_was_noted_first_is_forgotten() {
        let untold = Untold::default();
        let scope = |at: usize| {
            let namespace = Some(format!("n{at}").try_into().unwrap());
            Scope { namespace, ..Scope::new(Role::Sidecar, ConfigSource::Ads) }
        };
        let knows = |at: usize| untold.of(Some(&scope(at)), ResourceType::Cluster).contains_key("a");
        let note = |at: usize| untold.note(Some(&scope(at)), ResourceType::Cluster, ["a".into()]);
        (0..SCOPES_MAX).for_each(note);
        note(0);
        note(SCOPES_MAX);
        assert_eq!([0, 1, 2, SCOPES_MAX, SCOPES_MAX + 1].map(knows), [true, false, true, true, false]);
    }
}
