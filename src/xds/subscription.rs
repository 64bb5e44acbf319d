//! Which resources of one type a client wants.

use std::sync::Arc;

use super::names::{NameLists, Names};
use crate::resources::{Resource, TypeView};

/// The name that stands for all resources of a type.
pub const WILDCARD: &str = "*";

/// Which resources of one type a client wants.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    wildcard: bool,
    names: Names,
    /// Once names were given, an empty list means "nothing" and no longer "everything".
    ever_named: bool,
}

impl Subscription {
    /// Whether the client wants every resource that is not by name only.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether the client ever gave a name.
    pub fn was_named(&self) -> bool {
        self.ever_named
    }

    /// The names that the client gave.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether the client gave that name.
    pub fn has_name(&self, name: &str) -> bool {
        self.names.get(name).is_some()
    }

    /// Whether the client wants that resource.
    pub fn wants(&self, resource: &Resource) -> bool {
        (self.wildcard && !resource.is_by_name_only()) || self.has_name(resource.name())
    }

    /// All that the client wants of what there is, ordered by name.
    pub fn resources<'a>(&'a self, view: TypeView<'a>) -> Box<dyn Iterator<Item = &'a Arc<Resource>> + 'a> {
        match self.wildcard {
            true => Box::new(view.iter().filter(|resource| self.wants(resource))),
            false => Box::new(self.names.iter().filter_map(move |name| view.get(name))),
        }
    }

    /// Whether the client may want a resource of that name.
    pub fn covers(&self, name: &str) -> bool {
        self.wildcard || self.has_name(name)
    }

    /// Begins or ends the wildcard.
    pub fn set_wildcard(&mut self, wildcard: bool) {
        self.wildcard = wildcard;
    }

    /// Notes that the client gave names, even if none is left.
    pub fn note_named(&mut self) {
        self.ever_named = true;
    }

    /// Adds names: all at once, because there may be very many.
    pub fn add(&mut self, names: Vec<Arc<str>>, lists: &NameLists) {
        self.names = lists.step(&self.names, names, Vec::new());
    }

    /// Takes names away: all at once, because there may be very many. Gives those that were there.
    pub fn remove(&mut self, names: &[String], lists: &NameLists) -> Vec<Arc<str>> {
        let mut gone: Vec<Arc<str>> = names.iter().filter_map(|name| self.names.get(name).cloned()).collect();
        gone.sort();
        gone.dedup();
        self.names = lists.step(&self.names, Vec::new(), gone.clone());
        gone
    }

    /// Replaces all names.
    pub fn replace(&mut self, names: Vec<Arc<str>>, lists: &NameLists) {
        self.names = lists.list(names);
    }
}
