//! What the machines of all streams share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use imbl::OrdMap;
use parking_lot::Mutex;

use super::builds::Builds;
use super::names::NameLists;
use super::rejections::Rejections;
use crate::proxy::Scope;
use crate::resources::{PerType, Resource, ResourceType};

/// How many doubts of a type are remembered of a scope, and of how many scopes.
const UNTOLD_MAX: usize = 4096;
const SCOPES_MAX: usize = 64;

/// Of how many routes it is remembered that their virtual hosts were noted.
const ROUTES_MAX: usize = 256;

/// What the machines of all streams share.
#[derive(Debug, Default)]
pub struct Shared {
    /// What proxies refuse.
    pub rejections: Rejections,
    /// What new proxies are spared of it.
    pub builds: Builds,
    /// The names that clients ask for.
    pub lists: NameLists,
    /// What clients may have taken from responses that they refused for another reason. They do not tell of it when
    /// they come back.
    pub untold: Untold,
    /// What was composed of parts.
    pub partial_routes: PartialRoutes,
}

impl Shared {
    /// The documents of which proxies refuse something, or new ones are spared it.
    pub fn refused_documents(&self) -> BTreeSet<String> {
        let (refused, withheld) = (self.rejections.list(), self.builds.withheld());
        let of_withheld = withheld.iter().map(|withheld| &withheld.rejection.origin);
        let origins = refused.iter().map(|rejection| &rejection.origin).chain(of_withheld);
        origins.filter_map(|origin| origin.document()).map(ToString::to_string).collect()
    }
}

/// Route configurations without some of their virtual hosts: streams that hold back the same send the same bytes.
#[derive(Debug, Default)]
pub struct PartialRoutes(Mutex<Interned>);

#[derive(Debug, Default)]
struct Interned {
    all: BTreeMap<(Arc<str>, Box<str>), Weak<Resource>>,
    /// How many there may be before those that nobody holds any more are looked for.
    enough: usize,
}

impl PartialRoutes {
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

/// What a client may have, although it tells of something else when it comes back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doubt {
    /// The name.
    pub name: Arc<str>,
    /// The version that it tells of; empty = it tells of none.
    pub told: Box<str>,
    /// The version that it may have; empty = it may have none.
    pub has: Box<str>,
}

/// What clients may have and not tell of, by scope: what there is for one is not for others to hear of.
#[derive(Debug, Default)]
pub struct Untold(Mutex<BTreeMap<Option<Scope>, OfScope>>);

#[derive(Debug, Default)]
struct OfScope {
    types: PerType<Noted>,
    /// The greater, the later something was noted.
    noted: u64,
    /// The routes of which all virtual hosts were noted lately: many clients may lose the same response.
    routes: BTreeSet<Doubt>,
}

/// What clients may have of one type and not tell of, with the number under which each was noted last. A copy costs
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Doubts(OrdMap<Doubt, u64>);

#[derive(Debug, Default)]
struct Noted {
    all: Doubts,
    /// The same by number.
    order: BTreeMap<u64, Doubt>,
    last: u64,
}

impl Untold {
    /// Notes what a client of that scope may have. Of too much, that goes which was noted first.
    pub fn note(&self, scope: Option<&Scope>, kind: ResourceType, doubts: impl IntoIterator<Item = Doubt>) {
        let mut known = self.0.lock();
        let latest = known.values().map(|of| of.noted).max().unwrap_or_default();
        let of = known.entry(scope.cloned()).or_default();
        of.noted = latest + 1;
        doubts.into_iter().for_each(|doubt| of.types[kind].note_all(doubt));
        if known.len() > SCOPES_MAX {
            let oldest = known.iter().min_by_key(|(_, of)| of.noted).map(|(scope, _)| scope.clone());
            oldest.into_iter().for_each(|scope| _ = known.remove(&scope));
        }
    }

    /// All of one scope and type.
    pub fn of(&self, scope: Option<&Scope>, kind: ResourceType) -> Doubts {
        let known = self.0.lock();
        known.get(&scope.cloned()).map(|of| of.types[kind].all.clone()).unwrap_or_default()
    }

    /// Notes that a client may have other virtual hosts of some routes. Says whether that is new.
    pub fn is_new(&self, scope: Option<&Scope>, routes: Doubt) -> bool {
        let mut known = self.0.lock();
        let known = &mut known.entry(scope.cloned()).or_default().routes;
        if known.len() >= ROUTES_MAX {
            known.clear();
        }
        known.insert(routes)
    }
}

impl Noted {
    fn note_all(&mut self, doubt: Doubt) {
        // What it has instead of a version, it may have lost for another one since.
        let earlier = self.all.of_name(&doubt.name);
        let earlier = earlier.filter(|it| it.has == doubt.told && it.told != doubt.has);
        let more: Vec<_> = earlier.map(|it| Doubt { told: it.told.clone(), ..doubt.clone() }).collect();
        more.into_iter().chain([doubt]).for_each(|doubt| self.note(doubt));
    }

    fn note(&mut self, doubt: Doubt) {
        self.last += 1;
        if let Some(before) = self.all.0.insert(doubt.clone(), self.last) {
            self.order.remove(&before);
        }
        self.order.insert(self.last, doubt);
        if self.all.0.len() > UNTOLD_MAX
            && let Some((_, first)) = self.order.pop_first()
        {
            self.all.0.remove(&first);
        }
    }
}

impl Doubts {
    fn of_name(&self, name: &Arc<str>) -> impl Iterator<Item = &Doubt> {
        let first = Doubt { name: Arc::clone(name), told: Box::default(), has: Box::default() };
        let name = Arc::clone(name);
        self.0.range(first..).map(|(doubt, _)| doubt).take_while(move |doubt| doubt.name == name)
    }

    /// Each of them, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Doubt> {
        self.0.keys()
    }

    /// Whether a client that tells of this version, which is there, may have another.
    pub fn casts_doubt(&self, name: &Arc<str>, version: &str) -> bool {
        self.of_name(name).any(|doubt| *doubt.told == *version && *doubt.has != *version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{ConfigSource, Role};

    fn doubt(told: &str, has: &str) -> Doubt {
        Doubt { name: "c".into(), told: told.into(), has: has.into() }
    }

    #[test]
    fn what_came_in_place_of_a_doubtful_version_is_as_doubtful() {
        let untold = Untold::default();
        untold.note(None, ResourceType::Cluster, [doubt("1", "2"), doubt("2", "3")]);
        let doubts = untold.of(None, ResourceType::Cluster);
        assert_eq!(
            doubts.iter().cloned().collect::<Vec<_>>(),
            [doubt("1", "2"), doubt("1", "3"), doubt("2", "3")]
        );
        assert!(doubts.casts_doubt(&"c".into(), "1") && !doubts.casts_doubt(&"c".into(), "3"));
        assert!(!doubts.casts_doubt(&"d".into(), "1"));
    }

    #[test]
    fn of_too_many_doubts_those_that_were_noted_first_are_forgotten() {
        let untold = Untold::default();
        let name = |at: usize| Arc::<str>::from(format!("{at:05}"));
        let of = |name: Arc<str>| Doubt { name, ..doubt("", "1") };
        untold.note(None, ResourceType::Cluster, (0..UNTOLD_MAX).rev().map(name).map(of));
        let before = untold.of(None, ResourceType::Cluster);
        // The last of all is noted again, the first of the alphabet is the newest.
        untold.note(None, ResourceType::Cluster, [name(UNTOLD_MAX - 1), "!".into()].map(of));
        let now = untold.of(None, ResourceType::Cluster);
        assert_eq!([&before, &now].map(|it| it.iter().count()), [UNTOLD_MAX, UNTOLD_MAX]);
        let has = [name(UNTOLD_MAX - 1), name(UNTOLD_MAX - 2), name(0), "!".into()]
            .map(|name| now.iter().any(|doubt| doubt.name == name));
        assert_eq!(has, [true, false, true, true]);
        assert!(
            before.iter().any(|doubt| doubt.name == name(UNTOLD_MAX - 2)),
            "who looks at it sees no change"
        );
    }
    #[test]
    fn of_too_many_scopes_that_in_which_something_was_noted_first_is_forgotten() {
        let untold = Untold::default();
        let scope = |at: usize| {
            let namespace = Some(format!("n{at}").try_into().unwrap());
            Scope { namespace, ..Scope::new(Role::Sidecar, ConfigSource::Ads) }
        };
        let knows = |at: usize| untold.of(Some(&scope(at)), ResourceType::Cluster).iter().count() > 0;
        let note = |at: usize| untold.note(Some(&scope(at)), ResourceType::Cluster, [doubt("", "1")]);
        (0..SCOPES_MAX).for_each(note);
        note(0);
        note(SCOPES_MAX);
        assert_eq!([0, 1, 2, SCOPES_MAX, SCOPES_MAX + 1].map(knows), [true, false, true, true, false]);
    }
}
