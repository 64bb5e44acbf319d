//! A layer: named resources, and names that it hides of the layers below.

use std::sync::Arc;

use imbl::OrdSet;
use tokio::time::Instant;

use super::{PerType, Resource, ResourceType, TypeSet};

/// When a registry published a change.
pub type PublishedAt = Instant;

/// Some resources of each type. Immutable: a change makes another layer, which shares what did not change.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The number of the mesh that it was made for the first time with: unchanged layers stay.
    pub generation: u64,
    /// When the change that led to it was published by a registry.
    pub changed: PublishedAt,
    /// Its resources.
    pub sets: PerType<TypeSet>,
    /// Names that do not exist for who sees this layer, whatever the layers below have.
    pub hidden: PerType<OrdSet<Arc<str>>>,
}

impl Layer {
    /// A layer that has nothing.
    pub fn empty(generation: u64, changed: PublishedAt) -> Self {
        Self::of(generation, changed, PerType::default())
    }

    /// A layer that has these resources and hides nothing.
    pub fn of(generation: u64, changed: PublishedAt, sets: PerType<TypeSet>) -> Self {
        Self { generation, changed, sets, hidden: PerType::default() }
    }

    /// What it says of that name: a resource; nothing, although a layer below may have it; or `None` = it says
    /// nothing.
    pub fn get(&self, kind: ResourceType, name: &str) -> Option<Option<&Arc<Resource>>> {
        match self.sets[kind].get(name) {
            Some(resource) => Some(Some(resource)),
            None => self.hidden[kind].contains(name).then_some(None),
        }
    }

    /// The names that it says something of. Those of resources come first.
    pub(super) fn names(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.sets[kind].iter().map(|resource| resource.name()).chain(&self.hidden[kind])
    }

    /// The names of which two layers say different things.
    pub fn differing<'a>(
        &'a self,
        other: &'a Self,
        kind: ResourceType,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        use imbl::ordset::DiffItem;
        let hidden = self.hidden[kind].diff(&other.hidden[kind]).map(|item| match item {
            DiffItem::Add(name) | DiffItem::Remove(name) => name,
        });
        self.sets[kind].differing(&other.sets[kind]).chain(hidden)
    }
}
