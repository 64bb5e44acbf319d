//! All resources of one scope at one generation, and what changed since the generations before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::{Resource, ResourceType};

/// How many generations back a set can say what changed. A stream that is further behind compares the
/// whole set once.
const HISTORY: usize = 64;

/// All resources of one type, ordered by name.
#[derive(Debug, Default, PartialEq)]
pub struct TypeSet {
    resources: Vec<Arc<Resource>>,
    version: Box<str>,
}

impl TypeSet {
    /// A set of these resources. Of several with one name the last counts.
    pub fn new(resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut set = Self::with_version(resources, String::new());
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for resource in &set.resources {
            hash.update(resource.name().as_bytes());
            hash.update(&[0]);
            hash.update(resource.version().as_bytes());
            hash.update(&[0]);
        }
        set.version = format!("{:016x}", hash.digest()).into();
        set
    }

    /// A set with a version that the caller answers for.
    pub fn with_version(resources: impl IntoIterator<Item = Arc<Resource>>, version: String) -> Self {
        let mut resources: Vec<_> = resources.into_iter().collect();
        // Stable, so that the last of several with one name can be told.
        resources.sort_by(|a, b| a.name().cmp(b.name()));
        resources.reverse();
        resources.dedup_by(|a, b| a.name() == b.name());
        resources.reverse();
        Self { resources, version: version.into() }
    }

    /// The resources, ordered by name.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The resource of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        let at = self.resources.binary_search_by(|resource| resource.name().as_ref().cmp(name));
        at.ok().map(|at| &self.resources[at])
    }

    /// A hash of all names and versions: the version of a SotW response.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// What became of one name.
#[derive(Clone, Debug)]
pub struct Change {
    /// The resource's name.
    pub name: Arc<str>,
    /// The resource as it is now; `None` when it is gone.
    pub resource: Option<Arc<Resource>>,
}

/// What changed from one generation to a later one, by type.
#[derive(Clone, Debug, Default)]
pub struct Changes([Vec<Change>; 4]);

impl Changes {
    /// The changes of one type, ordered by name, each name once.
    pub fn of(&self, kind: ResourceType) -> &[Change] {
        &self.0[kind as usize]
    }

    /// Whether nothing changed at all.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    fn between(old: &[Arc<TypeSet>; 4], new: &[Arc<TypeSet>; 4]) -> Self {
        Self(ResourceType::ALL.map(|kind| diff(&old[kind as usize], &new[kind as usize])))
    }
}

/// A merge of two ordered lists; equal resources are one allocation, so it mostly compares pointers.
fn diff(old: &Arc<TypeSet>, new: &Arc<TypeSet>) -> Vec<Change> {
    let mut changes = Vec::new();
    if Arc::ptr_eq(old, new) {
        return changes;
    }
    let gone = |resource: &Arc<Resource>| Change { name: Arc::clone(resource.name()), resource: None };
    let mut old = old.resources.iter().peekable();
    for resource in &new.resources {
        while let Some(removed) = old.next_if(|old| old.name() < resource.name()) {
            changes.push(gone(removed));
        }
        let same = old.next_if(|old| old.name() == resource.name());
        if same.is_none_or(|old| !Arc::ptr_eq(old, resource) && old != resource) {
            changes.push(Change { name: Arc::clone(resource.name()), resource: Some(Arc::clone(resource)) });
        }
    }
    changes.extend(old.map(gone));
    changes
}

/// Resources of all types, as a translation makes them.
pub type Types = [TypeSet; 4];

/// All resources of one scope at one generation.
#[derive(Debug)]
pub struct ResourceSet {
    generation: u64,
    changed: Instant,
    types: [Arc<TypeSet>; 4],
    /// The last element led from `generation - 1` to `generation`.
    history: VecDeque<Arc<Changes>>,
}

impl ResourceSet {
    /// The first set of a scope. `changed` is when the change that led to it was published by a registry.
    pub fn first(types: Types, changed: Instant) -> Self {
        Self { generation: 1, changed, types: types.map(Arc::new), history: VecDeque::new() }
    }

    /// The set that follows this one, or `None` when nothing a client could see is different.
    pub fn successor(&self, types: Types, changed: Instant) -> Option<Self> {
        let mut types = types.map(Arc::new);
        let changes = Changes::between(&self.types, &types);
        if changes.is_empty() {
            return None;
        }
        for kind in ResourceType::ALL {
            if changes.of(kind).is_empty() {
                types[kind as usize] = Arc::clone(&self.types[kind as usize]);
            }
        }
        let mut history = self.history.clone();
        history.push_back(Arc::new(changes));
        if history.len() > HISTORY {
            history.pop_front();
        }
        Some(Self { generation: self.generation + 1, changed, types, history })
    }

    /// Counts the sets of a scope, from 1, in this process only.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When the change that led to this set was published by a registry.
    pub fn changed(&self) -> Instant {
        self.changed
    }

    /// The resources of one type.
    pub fn of(&self, kind: ResourceType) -> &Arc<TypeSet> {
        &self.types[kind as usize]
    }

    /// What changed since an earlier set of the same scope: merged, the latest state of each name. Costs
    /// no more than the changes themselves, unless `earlier` is many generations back.
    pub fn changes_since(&self, earlier: &Self) -> Arc<Changes> {
        let behind = self.generation.saturating_sub(earlier.generation);
        match usize::try_from(behind) {
            Ok(0) => Arc::default(),
            Ok(1) if !self.history.is_empty() => self.history.back().map(Arc::clone).unwrap_or_default(),
            Ok(behind) if behind <= self.history.len() => {
                Arc::new(merged(self.history.iter().skip(self.history.len() - behind)))
            }
            _ => Arc::new(Changes::between(&earlier.types, &self.types)),
        }
    }
}

fn merged<'a>(steps: impl Iterator<Item = &'a Arc<Changes>>) -> Changes {
    let mut latest: [BTreeMap<&str, &Change>; 4] = Default::default();
    for step in steps {
        for kind in ResourceType::ALL {
            latest[kind as usize].extend(step.of(kind).iter().map(|change| (&*change.name, change)));
        }
    }
    Changes(latest.map(|names| names.into_values().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilot_envoy_api::envoy::config::cluster::v3::Cluster;

    fn cluster(name: &str, alt: &str) -> Arc<Resource> {
        let message = Cluster { name: name.into(), alt_stat_name: alt.into(), ..Default::default() };
        Arc::new(Resource::new(name.into(), &message, Vec::new(), false))
    }

    fn types(clusters: &[(&str, &str)]) -> Types {
        let clusters = clusters.iter().map(|(name, alt)| cluster(name, alt));
        [TypeSet::new(clusters), TypeSet::default(), TypeSet::default(), TypeSet::default()]
    }

    fn names(changes: &Changes) -> Vec<(String, bool)> {
        let seen = |change: &Change| (change.name.to_string(), change.resource.is_some());
        changes.of(ResourceType::Cluster).iter().map(seen).collect()
    }

    #[tokio::test]
    async fn a_successor_says_what_changed() {
        let first = ResourceSet::first(types(&[("a", ""), ("b", ""), ("d", "")]), Instant::now());
        assert!(first.successor(types(&[("d", ""), ("b", ""), ("a", "")]), Instant::now()).is_none());
        let second = first.successor(types(&[("a", ""), ("b", "2"), ("c", "")]), Instant::now()).unwrap();
        let expected = [("b", true), ("c", true), ("d", false)].map(|(name, is)| (name.to_owned(), is));
        assert_eq!(names(&second.changes_since(&first)), expected);
    }

    #[tokio::test]
    async fn several_generations_merge_and_a_long_way_back_compares_whole_sets() {
        let first = ResourceSet::first(types(&[("a", "")]), Instant::now());
        let second = first.successor(types(&[("a", "2"), ("b", "")]), Instant::now()).unwrap();
        let third = second.successor(types(&[("a", "3")]), Instant::now()).unwrap();
        let expected = [("a".to_owned(), true), ("b".to_owned(), false)];
        assert_eq!(names(&third.changes_since(&first)), expected);

        let mut last = ResourceSet::first(types(&[("a", "0")]), Instant::now());
        for step in 1..200 {
            last = last.successor(types(&[("a", &step.to_string())]), Instant::now()).unwrap();
        }
        assert_eq!(names(&last.changes_since(&first)), [("a".to_owned(), true)]);
    }

    #[test]
    fn versions_are_of_content_not_of_order() {
        let forth = TypeSet::new([cluster("a", ""), cluster("b", "")]);
        let back = TypeSet::new([cluster("b", ""), cluster("a", "")]);
        assert_eq!(forth, back);
        assert_ne!(forth.version(), TypeSet::new([cluster("a", "")]).version());
    }
}
