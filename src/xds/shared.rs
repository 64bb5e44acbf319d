//! What the machines of all streams share.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::names::NameLists;
use super::rejections::Rejections;
use crate::resources::{PerType, ResourceType};

/// Of how many names of a type it is remembered that they were taken from a response that was refused.
const UNTOLD_MAX: usize = 4096;

/// What the machines of all streams share.
#[derive(Debug, Default)]
pub struct Shared {
    /// What proxies refuse.
    pub rejections: Rejections,
    /// The names that clients ask for.
    pub lists: NameLists,
    /// What clients took from responses that they refused for another reason. They do not tell of it when they come
    /// back, so what is gone by then is taken away by name.
    pub untold: Untold,
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
