//! Which resources of one type a client wants.

use std::sync::Arc;

use crate::resources::Resource;

/// The name that stands for all resources of a type.
pub const WILDCARD: &str = "*";

/// Which resources of one type a client wants.
#[derive(Debug, Default)]
pub struct Subscription {
    wildcard: bool,
    /// Ordered. Names that exist share the resource's own allocation.
    names: Vec<Arc<str>>,
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

    /// The names that the client gave, in order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether the client gave that name.
    pub fn has_name(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// Whether the client wants that resource.
    pub fn wants(&self, resource: &Resource) -> bool {
        (self.wildcard && !resource.is_by_name_only()) || self.has_name(resource.name())
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
    pub fn add(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        let known = self.names.len();
        self.names.extend(names);
        if self.names.len() > known {
            self.names.sort();
            self.names.dedup();
            self.names.shrink_to_fit();
        }
    }

    /// Takes names away: all at once, because there may be very many. Gives those that were there.
    pub fn remove(&mut self, names: &[String]) -> Vec<Arc<str>> {
        let mut at: Vec<usize> = names.iter().filter_map(|name| self.position(name).ok()).collect();
        at.sort_unstable();
        at.dedup();
        let (Some(first), Some(last)) = (at.first().copied(), at.last().copied()) else { return Vec::new() };
        let (mut place, mut gone) = (first.., at.into_iter().peekable());
        let is_gone = |_: &mut Arc<str>| gone.next_if_eq(&place.next().unwrap_or(usize::MAX)).is_some();
        self.names.extract_if(first..=last, is_gone).collect()
    }

    /// Replaces all names by an ordered list without repetitions.
    pub fn replace(&mut self, names: Vec<Arc<str>>) {
        debug_assert!(names.is_sorted(), "names are ordered");
        self.names = names;
        self.names.shrink_to_fit();
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|known| known.as_ref().cmp(name))
    }
}
