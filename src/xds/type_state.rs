//! The state of one resource type on one stream: what the client wants, what it holds, and what it has yet to
//! be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::held::Held;
use super::subscription::Subscription;
use crate::resources::{Change, Resource, TypeView};

/// One type on one stream.
#[derive(Debug, Default)]
pub struct TypeState {
    /// What the client wants.
    pub subscription: Subscription,
    /// What the client was last sent.
    pub held: Held,
    /// What the client is owed.
    pub pending: Pending,
    /// The response that the client has not answered.
    pub in_flight: Option<InFlight>,
    /// The nonce of the last response, answered or not.
    pub last_nonce: Option<Box<str>>,
    /// What the client was sent and did not accept, with what it had before, which it still uses. All
    /// names of a rejected response are here: the client does not say which of them it is about.
    pub rejected: BTreeMap<Arc<str>, Option<Arc<Resource>>>,
    /// Names that the client wants and that do not exist, while a set is known.
    pub missing: BTreeSet<Arc<str>>,
    /// The client has asked for this type.
    pub requested: bool,
    /// Names and versions that the client brought from an earlier stream, until they are compared.
    pub claims: BTreeMap<String, String>,
    /// The client brought something from an earlier stream, and may use more than it has told of yet.
    pub returned: bool,
    /// Names from the client's `initial_resource_versions` that are gone or outdated here. Cleared when the
    /// client accepts the replacement.
    pub outdated: BTreeSet<Arc<str>>,
    /// Something waits for what it names.
    pub withheld: bool,
}

/// A response that the client has not answered.
#[derive(Debug)]
pub struct InFlight {
    /// Its nonce.
    pub nonce: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// The set that it was made from.
    pub generation: u64,
    /// What the client had before of each name in it, ordered by name.
    pub before: Vec<Before>,
}

/// A name, and what the client had of it before a response.
pub type Before = (Arc<str>, Option<Arc<Resource>>);

/// What a client is owed of one type.
#[derive(Debug, Default)]
pub struct Pending {
    /// Every resource that the wildcard matches is to be looked at.
    pub everything: bool,
    /// Names to be looked at; `true` = the client is answered even if nothing is new to it.
    pub names: BTreeMap<Arc<str>, bool>,
    /// Names that the client holds and that are gone.
    pub removals: BTreeSet<Arc<str>>,
    /// The client waits for an answer, even if there is nothing to tell.
    pub answer: bool,
}

impl InFlight {
    fn before_of(&self, name: &str) -> Option<&Before> {
        let at = self.before.binary_search_by(|(known, _)| known.as_ref().cmp(name));
        at.ok().map(|at| &self.before[at])
    }
}

impl Pending {
    /// Whether there is something to look at besides removals.
    pub fn has_updates(&self) -> bool {
        self.everything || self.answer || !self.names.is_empty()
    }

    /// Whether something is owed for that name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.removals.contains(name)
    }

    /// The name is to be looked at.
    pub fn look_at(&mut self, name: Arc<str>, answer: bool) {
        *self.names.entry(name).or_default() |= answer;
    }

    /// Nothing is owed for that name any more.
    pub fn forget(&mut self, name: &str) {
        self.names.remove(name);
        self.removals.remove(name);
    }
}

impl TypeState {
    /// Nothing on its way, nothing to be sent, nothing rejected (removals apart): the client has what it
    /// wants.
    pub fn is_settled(&self) -> bool {
        let idle = self.in_flight.is_none() && !self.pending.has_updates();
        !self.requested || (idle && self.rejected.is_empty())
    }

    /// The resource of that name, if it exists and the client wants it.
    pub fn visible<'a>(&self, set: TypeView<'a>, name: &str) -> Option<&'a Arc<Resource>> {
        set.get(name).filter(|resource| self.subscription.wants(resource))
    }

    /// Whether the client has exactly that, and has not rejected it.
    pub fn client_agrees(&self, resource: &Arc<Resource>) -> bool {
        self.held.has(resource) && !self.rejected.contains_key(resource.name())
    }

    /// Whether the client can use a resource of that name, in whatever version.
    pub fn client_has(&self, name: &str) -> bool {
        let first_time = self.before(name).is_some_and(Option::is_none);
        self.outdated.contains(name) || (self.held.get(name).is_some() && !first_time)
    }

    /// What the client had of that name before it was sent what it has not accepted yet; `None` when it has
    /// accepted everything.
    pub fn before(&self, name: &str) -> Option<&Option<Arc<Resource>>> {
        let on_its_way = || self.in_flight.as_ref()?.before_of(name);
        self.rejected.get(name).or_else(|| on_its_way().map(|(_, before)| before))
    }

    /// Everything the client may use now: what it was sent, and as long as it has not accepted that, what it
    /// had before.
    pub fn in_use(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let on_its_way = self.in_flight.iter().flat_map(|it| &it.before).filter_map(|(_, it)| it.as_ref());
        self.held.resources().iter().chain(on_its_way).chain(self.rejected.values().flatten())
    }

    /// The client uses what it was sent.
    pub fn accepted(&mut self, before: &[Before]) {
        for (name, _) in before {
            self.rejected.remove(name);
            self.outdated.remove(name);
        }
    }

    /// The client does not use what it was sent.
    pub fn refused(&mut self, before: Vec<Before>) {
        for (name, before) in before {
            if self.subscription.is_wildcard() || self.subscription.has_name(&name) {
                self.rejected.entry(name).or_insert(before);
            }
        }
    }

    /// One of the rejected resources is different now: it may have been the reason for all of them.
    pub fn retry(&mut self, set: TypeView<'_>) {
        for name in self.rejected.keys() {
            if set.get(name).is_some_and(|resource| self.subscription.wants(resource)) {
                self.pending.removals.remove(name);
                self.pending.look_at(Arc::clone(name), false);
            } else {
                self.pending.removals.insert(Arc::clone(name));
            }
        }
    }

    /// Forgets everything about names that the client no longer wants.
    pub fn narrow(&mut self) {
        let subscription = &self.subscription;
        let wanted = |name: &str| subscription.is_wildcard() || subscription.has_name(name);
        self.held.retain(|held| subscription.wants(held));
        self.pending.everything &= subscription.is_wildcard();
        self.pending.names.retain(|name, _| wanted(name));
        self.pending.removals.retain(|name| wanted(name));
        self.rejected.retain(|name, _| wanted(name));
        self.outdated.retain(|name| wanted(name));
        self.missing.retain(|name| subscription.has_name(name));
    }

    /// Looks for all names that the client wants: there is a set where there was none.
    pub fn find_missing(&mut self, set: TypeView<'_>) {
        let missing = self.subscription.names().iter().filter(|name| set.get(name).is_none());
        self.missing = missing.cloned().collect();
    }

    /// Takes in what became of a name.
    pub fn changed(&mut self, change: &Change) {
        if change.resource.is_some() {
            self.missing.remove(&change.name);
        }
        match &change.resource {
            Some(resource) if self.subscription.wants(resource) => {
                self.pending.removals.remove(&change.name);
                self.pending.look_at(Arc::clone(&change.name), false);
            }
            // It is gone, or was there for all and is now for those who ask for its name.
            _ if self.held.get(&change.name).is_some() || self.outdated.contains(&change.name) => {
                // An answer that is owed for the name stays owed.
                if self.pending.names.get(&change.name) != Some(&true) {
                    self.pending.names.remove(&change.name);
                }
                self.pending.removals.insert(Arc::clone(&change.name));
            }
            _ => {}
        }
    }

    /// A name that the client asked for by itself was there and is gone. Not for names that it knows from other
    /// resources: until it has let go of these, which may take Envoy minutes, it asks for what they name.
    pub fn lost(&mut self, name: &Arc<str>) {
        if self.subscription.has_name(name) {
            self.missing.insert(Arc::clone(name));
        }
    }

    /// Looks at everything the client wants: there is a set where there was none.
    pub fn look_at_everything(&mut self) {
        self.pending.everything = self.subscription.is_wildcard();
        for name in self.subscription.names() {
            self.pending.look_at(Arc::clone(name), false);
        }
    }

    /// Compares what the client says it holds with what there is (P10).
    pub fn settle_claims(&mut self, set: TypeView<'_>) {
        for (name, version) in std::mem::take(&mut self.claims) {
            match self.visible(set, &name) {
                Some(resource) if resource.version() == version => {
                    let resource = Arc::clone(resource);
                    self.pending.names.remove(resource.name());
                    self.held.insert(resource);
                }
                Some(resource) => {
                    let name = Arc::clone(resource.name());
                    self.pending.look_at(Arc::clone(&name), false);
                    self.outdated.insert(name);
                }
                None if self.subscription.is_wildcard() || self.subscription.has_name(&name) => {
                    let name: Arc<str> = name.into();
                    self.pending.names.remove(&name);
                    self.pending.removals.insert(Arc::clone(&name));
                    self.outdated.insert(name);
                }
                None => {}
            }
        }
    }

    /// The client no longer wants these names, which are ordered. There may be very many.
    pub fn drop_names(&mut self, names: &[Arc<str>]) {
        for name in names {
            self.pending.forget(name);
            self.rejected.remove(name);
            self.outdated.remove(name);
            self.missing.remove(name);
        }
        match names {
            [] => {}
            [name] => _ = self.held.remove(name),
            names => self.held.retain(|held| names.binary_search(held.name()).is_err()),
        }
    }

    /// Names that are to be looked at, with whether the client is answered in any case.
    pub fn take_names(&mut self, set: TypeView<'_>) -> BTreeMap<Arc<str>, bool> {
        let mut names = std::mem::take(&mut self.pending.names);
        if std::mem::take(&mut self.pending.everything) {
            for resource in set.iter().filter(|resource| !resource.is_by_name_only()) {
                names.entry(Arc::clone(resource.name())).or_default();
            }
        }
        names
    }
}
