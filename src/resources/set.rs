//! The resources of one type in one layer.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::Resource;

/// How often a set is asked for names before it makes a hash table of them, as a share of its size.
///
/// When a thousand clients reconnect, each looks up every name in the same set, so a table pays quickly. After a
/// change, only a few names are looked up in a new set: there it would cost more than it saves.
const PATIENCE: usize = 2;

/// Resources of one type, ordered by name. A set that differs from another in one resource costs one resource:
/// they share all else.
#[derive(Debug, Default)]
pub struct TypeSet {
    resources: OrdMap<Arc<str>, Arc<Resource>>,
    /// The sum of the resources' fingerprints: independent of order, and cheap to keep up to date.
    fingerprint: u64,
    version: Option<Box<str>>,
    asked: AtomicU32,
    table: OnceLock<HashMap<Arc<str>, Arc<Resource>>>,
}

impl Clone for TypeSet {
    fn clone(&self) -> Self {
        let (resources, version) = (self.resources.clone(), self.version.clone());
        Self { resources, fingerprint: self.fingerprint, version, ..Self::default() }
    }
}

impl PartialEq for TypeSet {
    fn eq(&self, other: &Self) -> bool {
        self.version() == other.version() && self.resources == other.resources
    }
}

/// What becomes of names in a set: a resource, or nothing.
pub type Patch = BTreeMap<Arc<str>, Option<Arc<Resource>>>;

impl TypeSet {
    /// A set of these resources. Of several with one name the last counts.
    pub fn new(resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut set = Self::default();
        resources.into_iter().for_each(|resource| set.insert(resource));
        set
    }

    /// A set with a version that the caller answers for.
    pub fn with_version(resources: impl IntoIterator<Item = Arc<Resource>>, version: String) -> Self {
        Self { version: Some(version.into()), ..Self::new(resources) }
    }

    /// Adds a resource, or replaces the one of its name.
    pub fn insert(&mut self, resource: Arc<Resource>) {
        self.fingerprint = self.fingerprint.wrapping_add(resource.fingerprint());
        let before = self.resources.insert(Arc::clone(resource.name()), resource);
        self.forget(before);
    }

    /// Takes a resource away.
    pub fn remove(&mut self, name: &str) {
        let before = self.resources.remove(name);
        self.forget(before);
    }

    fn forget(&mut self, before: Option<Arc<Resource>>) {
        if let Some(before) = before {
            self.fingerprint = self.fingerprint.wrapping_sub(before.fingerprint());
        }
        (self.asked, self.table) = Default::default();
    }

    /// Applies changes. Says whether that made it another set.
    pub fn apply(&mut self, patch: &Patch) -> bool {
        let mut changed = false;
        for (name, resource) in patch {
            let same = |old: &Arc<Resource>| resource.as_ref().is_some_and(|new| Arc::ptr_eq(old, new));
            if self.resources.get(&**name).map_or(resource.is_none(), same) {
                continue;
            }
            changed = true;
            match resource {
                Some(resource) => self.insert(Arc::clone(resource)),
                None => self.remove(name),
            }
        }
        changed
    }

    /// The resources, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The resource of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        if let Some(table) = self.table.get() {
            return table.get(name);
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) as usize;
        if asked <= self.len() / PATIENCE {
            return self.resources.get(name);
        }
        let table = || self.iter().map(|it| (Arc::clone(it.name()), Arc::clone(it))).collect();
        self.table.get_or_init(table).get(name)
    }

    /// The names of which the resources differ in both sets, in order. Costs what differs, if one set came from the
    /// other.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Arc<str>> {
        self.resources.diff(&other.resources).map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { old: (name, _), .. } => {
                name
            }
        })
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The version that the caller answers for, if there is one.
    pub(super) fn given_version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// A hash of all names and versions.
    pub fn version(&self) -> Box<str> {
        self.version.clone().unwrap_or_else(|| version_of(self.fingerprint, self.len()))
    }
}

/// The version of so many resources with that sum of fingerprints.
pub(super) fn version_of(fingerprint: u64, count: usize) -> Box<str> {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&fingerprint.to_le_bytes());
    hash.update(&(count as u64).to_le_bytes());
    format!("{:016x}", hash.digest()).into()
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;
    use pilot_envoy_api::envoy::config::cluster::v3::Cluster;

    fn cluster(name: &str, alt: &str) -> Arc<Resource> {
        let message = Cluster { name: name.into(), alt_stat_name: alt.into(), ..Default::default() };
        Arc::new(Resource::new(name.into(), &message, Vec::new(), Origin::Shared))
    }

    #[test]
    fn versions_are_of_content_not_of_order() {
        let forth = TypeSet::new([cluster("a", ""), cluster("b", "")]);
        let back = TypeSet::new([cluster("b", ""), cluster("a", "")]);
        assert_eq!(forth, back);
        assert_ne!(forth.version(), TypeSet::new([cluster("a", "")]).version());
    }

    #[test]
    fn a_changed_set_is_the_set_made_anew() {
        let set = TypeSet::new([cluster("b", ""), cluster("d", ""), cluster("e", "")]);
        let patch = [("a", Some("1")), ("b", Some("2")), ("c", None), ("d", None), ("f", Some("3"))];
        let patch = patch.map(|(name, alt)| (Arc::from(name), alt.map(|alt| cluster(name, alt)))).into();
        let mut patched = set.clone();
        assert!(patched.apply(&patch));
        assert!(!patched.apply(&patch), "it is done");
        let anew = [cluster("a", "1"), cluster("b", "2"), cluster("e", ""), cluster("f", "3")];
        assert_eq!(patched, TypeSet::new(anew));
        assert!(Arc::ptr_eq(patched.get("e").unwrap(), set.get("e").unwrap()));
        let differing: Vec<&str> = set.differing(&patched).map(|name| &**name).collect();
        assert_eq!(differing, ["a", "b", "d", "f"]);
    }

    #[test]
    fn names_are_found_before_and_after_the_table_is_made() {
        let name = |number: usize| format!("cluster-{number:03}");
        for count in [0, 1, 2, 3, 300] {
            let set = TypeSet::new((0..count).map(|number| cluster(&name(number), "")));
            for _ in 0..3 {
                for number in 0..count + 2 {
                    let found = set.get(&name(number)).map(|found| found.name().to_string());
                    assert_eq!(found, (number < count).then(|| name(number)));
                }
            }
            assert!(set.table.get().is_some());
        }
    }
}
