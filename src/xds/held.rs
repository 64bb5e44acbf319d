//! What a client was last sent of one type.

use std::sync::Arc;

use crate::resources::Resource;

/// The resources that a client was last sent, ordered by name: a pointer each.
#[derive(Debug, Default)]
pub struct Held(Vec<Arc<Resource>>);

impl Held {
    /// What the client was last sent under that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.position(name).ok().map(|at| &self.0[at])
    }

    /// Whether the client has exactly that.
    pub fn has(&self, resource: &Arc<Resource>) -> bool {
        let held = self.get(resource.name());
        held.is_some_and(|held| Arc::ptr_eq(held, resource) || held.version() == resource.version())
    }

    /// The client was sent that. Says what it had before.
    pub fn insert(&mut self, resource: Arc<Resource>) -> Option<Arc<Resource>> {
        // Resources mostly come in the order of their names.
        if self.0.last().is_none_or(|last| last.name() < resource.name()) {
            self.0.push(resource);
            return None;
        }
        match self.position(resource.name()) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at], resource)),
            Err(at) => {
                self.0.insert(at, resource);
                None
            }
        }
    }

    /// Gives back what is kept for growth: streams live long and change little.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// The client no longer has it, or no longer wants it.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Resource>> {
        self.position(name).ok().map(|at| self.0.remove(at))
    }

    /// The client has exactly these, ordered by name.
    pub fn replace(&mut self, resources: Vec<Arc<Resource>>) {
        debug_assert!(resources.is_sorted_by(|a, b| a.name() < b.name()), "resources are ordered");
        self.0 = resources;
    }

    /// Keeps what `keep` says.
    pub fn retain(&mut self, keep: impl FnMut(&Arc<Resource>) -> bool) {
        self.0.retain(keep);
    }

    /// All of it, ordered by name.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.0
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|held| held.name().as_ref().cmp(name))
    }
}
