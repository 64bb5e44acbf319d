//! All resources of one scope at one generation, and what changed since the generations before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};

use tokio::time::Instant;

use super::index::Index;
use super::{Resource, ResourceType};

/// How many generations back a set can say what changed. A stream that is further behind compares the
/// whole set once.
const HISTORY: usize = 64;

/// All resources of one type, ordered by name.
#[derive(Debug, Default)]
pub struct TypeSet {
    resources: Vec<Arc<Resource>>,
    version: Box<str>,
    /// The sum of the resources' fingerprints: independent of order, and cheap to keep up to date.
    fingerprint: u64,
    index: Index,
    /// The set that came before it, and what differs. Scopes share sets, and so the work of comparing them.
    since: OnceLock<(Weak<Self>, Arc<[Change]>)>,
}

impl PartialEq for TypeSet {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.resources == other.resources
    }
}

/// What becomes of names in a set: a resource, or nothing.
pub type Patch = BTreeMap<Arc<str>, Option<Arc<Resource>>>;

impl TypeSet {
    /// A set of these resources. Of several with one name the last counts.
    pub fn new(resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut set = Self::with_version(resources, String::new());
        set.version = version_of(set.fingerprint, set.resources.len());
        set
    }

    /// The set that [`TypeSet::new`] would make of this one's resources after these changes. Costs a copy of
    /// the list of pointers and work for what is in the patch, but no hash over the whole set.
    #[must_use]
    pub fn patched(&self, patch: &Patch) -> Self {
        let mut resources = Vec::with_capacity(self.resources.len() + patch.len());
        let mut fingerprint = self.fingerprint;
        let mut rest = self.resources.as_slice();
        for (name, change) in patch {
            let at = rest.partition_point(|resource| resource.name() < name);
            resources.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            if let Some((old, after)) = rest.split_first().filter(|(old, _)| old.name() == name) {
                fingerprint = fingerprint.wrapping_sub(old.fingerprint());
                rest = after;
            }
            if let Some(resource) = change {
                fingerprint = fingerprint.wrapping_add(resource.fingerprint());
                resources.push(Arc::clone(resource));
            }
        }
        resources.extend_from_slice(rest);
        let version = version_of(fingerprint, resources.len());
        Self { resources, version, fingerprint, index: Index::default(), since: OnceLock::new() }
    }

    /// A set with a version that the caller answers for.
    pub fn with_version(resources: impl IntoIterator<Item = Arc<Resource>>, version: String) -> Self {
        let mut resources: Vec<_> = resources.into_iter().collect();
        // Stable, so that the last of several with one name can be told.
        resources.sort_by(|a, b| a.name().cmp(b.name()));
        resources.reverse();
        resources.dedup_by(|a, b| a.name() == b.name());
        resources.reverse();
        let fingerprint =
            resources.iter().fold(0u64, |sum, resource| sum.wrapping_add(resource.fingerprint()));
        let (version, index, since) = (version.into(), Index::default(), OnceLock::new());
        Self { resources, version, fingerprint, index, since }
    }

    /// The resources, ordered by name.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The resource of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.index.find(&self.resources, name)
    }

    /// A hash of all names and versions: the version of a SotW response.
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn version_of(fingerprint: u64, count: usize) -> Box<str> {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&fingerprint.to_le_bytes());
    hash.update(&(count as u64).to_le_bytes());
    format!("{:016x}", hash.digest()).into()
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
pub struct Changes([Arc<[Change]>; 4]);

impl Changes {
    /// The changes of one type, ordered by name, each name once.
    pub fn of(&self, kind: ResourceType) -> &[Change] {
        &self.0[kind as usize]
    }

    /// Whether nothing changed at all.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|changes| changes.is_empty())
    }

    fn between(old: &Types, new: &Types) -> Self {
        Self(ResourceType::ALL.map(|kind| diff(&old[kind as usize], &new[kind as usize]).into()))
    }

    /// The same, of types that follow each other: what one scope has found out, others need not.
    fn from_step(old: &Types, new: &Types) -> Self {
        Self(ResourceType::ALL.map(|kind| step(&old[kind as usize], &new[kind as usize])))
    }
}

fn step(old: &Arc<TypeSet>, new: &Arc<TypeSet>) -> Arc<[Change]> {
    if Arc::ptr_eq(old, new) {
        return Arc::default();
    }
    let (since, changes) = new.since.get_or_init(|| (Arc::downgrade(old), diff(old, new).into()));
    if Weak::as_ptr(since) == Arc::as_ptr(old) { Arc::clone(changes) } else { diff(old, new).into() }
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
        if old.next_if(|old| Arc::ptr_eq(old, resource)).is_some() {
            continue;
        }
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

/// Resources of all types, as a translation makes them. A type that nothing changed in stays the same `Arc`.
pub type Types = [Arc<TypeSet>; 4];

/// All resources of one scope at one generation.
#[derive(Debug)]
pub struct ResourceSet {
    generation: u64,
    changed: Instant,
    types: Types,
    /// The same for all sets that follow from one first set.
    lineage: Arc<Lineage>,
    /// The last element led from `generation - 1` to `generation`.
    history: VecDeque<Arc<Changes>>,
}

/// Compared by its address.
#[derive(Debug)]
struct Lineage;

impl ResourceSet {
    /// The first set of a scope. `changed` is when the change that led to it was published by a registry.
    pub fn first(types: Types, changed: Instant) -> Self {
        Self { generation: 1, changed, types, lineage: Arc::new(Lineage), history: VecDeque::new() }
    }

    /// The set that follows this one, or `None` when nothing a client could see is different.
    pub fn successor(&self, mut types: Types, changed: Instant) -> Option<Self> {
        let changes = Changes::from_step(&self.types, &types);
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
        let lineage = Arc::clone(&self.lineage);
        Some(Self { generation: self.generation + 1, changed, types, lineage, history })
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

    /// What changed since an earlier set: merged, the latest state of each name. Costs no more than the
    /// changes themselves, unless `earlier` is many generations back, or was made for another scope.
    pub fn changes_since(&self, earlier: &Self) -> Arc<Changes> {
        if !Arc::ptr_eq(&self.lineage, &earlier.lineage) {
            return Arc::new(Changes::between(&earlier.types, &self.types));
        }
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
        [TypeSet::new(clusters).into(), Arc::default(), Arc::default(), Arc::default()]
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

    #[tokio::test]
    async fn what_differs_is_found_once_for_all_scopes_that_share_the_sets() {
        let (old, new) = (types(&[("a", "")]), types(&[("a", "2")]));
        let step = |from: &Types| {
            let set = ResourceSet::first(from.clone(), Instant::now());
            let next = set.successor(new.clone(), Instant::now()).unwrap();
            next.changes_since(&set)
        };
        let [one, other] = [step(&old), step(&old)];
        assert!(Arc::ptr_eq(&one.0[0], &other.0[0]));
        let from_another = step(&types(&[("b", "")]));
        assert_eq!(names(&one), [("a".to_owned(), true)]);
        assert_eq!(names(&from_another), [("a".to_owned(), true), ("b".to_owned(), false)]);
    }

    #[tokio::test]
    async fn sets_of_different_scopes_are_compared_whole() {
        let one = ResourceSet::first(types(&[("a", "")]), Instant::now());
        let other = ResourceSet::first(types(&[("b", "")]), Instant::now());
        let expected = [("a".to_owned(), false), ("b".to_owned(), true)];
        assert_eq!(names(&other.changes_since(&one)), expected);
        let other = other.successor(types(&[("c", "")]), Instant::now()).unwrap();
        let expected = [("a".to_owned(), false), ("c".to_owned(), true)];
        assert_eq!(names(&other.changes_since(&one)), expected);
    }

    #[test]
    fn versions_are_of_content_not_of_order() {
        let forth = TypeSet::new([cluster("a", ""), cluster("b", "")]);
        let back = TypeSet::new([cluster("b", ""), cluster("a", "")]);
        assert_eq!(forth, back);
        assert_ne!(forth.version(), TypeSet::new([cluster("a", "")]).version());
    }

    #[test]
    fn a_patched_set_is_the_set_made_anew() {
        let set = TypeSet::new([cluster("b", ""), cluster("d", ""), cluster("e", "")]);
        let patch = [("a", Some("1")), ("b", Some("2")), ("c", None), ("d", None), ("f", Some("3"))];
        let patch = patch.map(|(name, alt)| (Arc::from(name), alt.map(|alt| cluster(name, alt))));
        let patched = set.patched(&patch.into());
        let anew = [cluster("a", "1"), cluster("b", "2"), cluster("e", ""), cluster("f", "3")];
        assert_eq!(patched, TypeSet::new(anew));
        assert!(Arc::ptr_eq(&patched.resources()[2], &set.resources()[2]));
    }
}
