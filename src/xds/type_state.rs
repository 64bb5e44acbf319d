//! One type on one stream: what the client wants, holds, and is owed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::held::Held;
use super::subscription::Subscription;
use crate::resources::{Change, Resource, TypeSet};

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
    /// The client's last answer was a rejection: it still uses what it had before.
    pub rejected: bool,
    /// The client has asked for this type.
    pub requested: bool,
    /// Names and versions that the client brought from an earlier stream, until they are compared.
    pub claims: BTreeMap<String, String>,
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
}

/// What a client is owed of one type.
#[derive(Debug, Default)]
pub struct Pending {
    /// Every resource that the wildcard matches is to be looked at.
    pub everything: bool,
    /// Names to be looked at; `true` = the client is answered even if nothing is new to it.
    pub names: BTreeMap<Arc<str>, bool>,
    /// Names that the client holds and that are gone.
    pub removals: BTreeSet<Arc<str>>,
    /// Removals that the client itself told of when it came back. It may still use them, and it may not
    /// yet have asked for the resources by which it does.
    pub removals_from_before: bool,
    /// The client waits for an answer, even if there is nothing to tell.
    pub answer: bool,
}

impl Pending {
    /// Whether there is something to look at besides removals.
    pub fn has_updates(&self) -> bool {
        self.everything || self.answer || !self.names.is_empty()
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
    /// Nothing on its way, nothing to be sent (removals apart): the client has what it wants.
    pub fn is_settled(&self) -> bool {
        !self.requested || (self.in_flight.is_none() && !self.pending.has_updates())
    }

    /// The resource of that name, if it exists and the client wants it.
    pub fn visible<'a>(&self, set: &'a TypeSet, name: &str) -> Option<&'a Arc<Resource>> {
        set.get(name).filter(|resource| self.subscription.wants(resource))
    }

    /// Takes in what became of a name.
    pub fn changed(&mut self, change: &Change) {
        match &change.resource {
            Some(resource) if self.subscription.wants(resource) => {
                self.pending.removals.remove(&change.name);
                self.pending.look_at(Arc::clone(&change.name), false);
            }
            Some(_) => {}
            None if self.held.get(&change.name).is_some() => {
                // An answer that is owed for the name stays owed.
                if self.pending.names.get(&change.name) != Some(&true) {
                    self.pending.names.remove(&change.name);
                }
                self.pending.removals.insert(Arc::clone(&change.name));
            }
            None => {}
        }
    }

    /// Looks at everything the client wants: there is a set where there was none.
    pub fn look_at_everything(&mut self) {
        self.pending.everything = self.subscription.is_wildcard();
        for name in self.subscription.names() {
            self.pending.look_at(Arc::clone(name), false);
        }
    }

    /// The client no longer wants that name.
    pub fn drop_name(&mut self, name: &str) {
        self.pending.forget(name);
        self.held.remove(name);
    }

    /// Names that are to be looked at, with whether the client is answered in any case.
    pub fn take_names(&mut self, set: &TypeSet) -> BTreeMap<Arc<str>, bool> {
        let mut names = std::mem::take(&mut self.pending.names);
        if std::mem::take(&mut self.pending.everything) {
            for resource in set.resources().iter().filter(|resource| !resource.is_by_name_only()) {
                names.entry(Arc::clone(resource.name())).or_default();
            }
        }
        names
    }
}
