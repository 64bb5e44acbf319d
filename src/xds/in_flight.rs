//! Responses that a client has not answered.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::subscription::Subscription;
use crate::resources::{Resource, ResourceType, View};

/// A response that the client has not answered.
#[derive(Debug)]
pub struct InFlight {
    /// Its nonce.
    pub nonce: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// The view that it was made from.
    pub generation: u64,
    /// What it says of names, ordered by name.
    pub items: Vec<Item>,
    /// The first response of a type holds all that there was, which need not be listed.
    pub whole: Option<Whole>,
    /// It holds more, of which the client forgets what it is told.
    pub forgotten: bool,
}

/// A name, and what a response says of it: a resource, or that there is none.
pub type Item = (Arc<str>, Option<Arc<Resource>>);

/// All that a client wanted of one type, as it was then.
#[derive(Debug)]
pub struct Whole {
    /// The type.
    pub kind: ResourceType,
    /// What there was.
    pub view: Arc<View>,
    /// What the client wanted.
    pub subscription: Subscription,
    /// What was left out, because it names what was not there yet.
    pub left: BTreeSet<Arc<str>>,
}

impl InFlight {
    /// The names of all that it holds or takes away.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let whole = self.whole.iter().flat_map(Whole::resources).map(|resource| resource.name());
        self.items.iter().map(|(name, _)| name).chain(whole)
    }

    /// The client forgets what it says of that name.
    pub fn forget(&mut self, name: &Arc<str>) {
        self.forgotten |= self.sent(name).is_some();
        self.items.retain(|(known, _)| known != name);
        self.whole.iter_mut().for_each(|whole| _ = whole.left.insert(Arc::clone(name)));
    }

    /// What it says of that name; `None` = nothing.
    pub fn sent(&self, name: &str) -> Option<Option<&Arc<Resource>>> {
        match self.items.binary_search_by(|(known, _)| known.as_ref().cmp(name)) {
            Ok(at) => Some(self.items[at].1.as_ref()),
            Err(_) => self.whole.as_ref().and_then(|whole| whole.get(name)).map(Some),
        }
    }
}

impl Whole {
    /// Whether it has a resource of that name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        let there = self.view.of(self.kind).get(name)?;
        (self.subscription.wants(there) && !self.left.contains(name)).then_some(there)
    }

    /// Each resource of it, ordered by name.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let all = self.subscription.resources(self.view.of(self.kind));
        all.filter(|resource| !self.left.contains(resource.name()))
    }
}
