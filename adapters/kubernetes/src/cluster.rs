//! The known state of a cluster: objects, references between them, and the services that they make.
//!
//! Pure: no clock, no IO. A changed object marks the services that it concerns. Taking a snapshot converts
//! the marked services again; all others keep their `Arc`.

mod entry;
mod interner;
mod slice;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use pilot_registry::{Hostname, Snapshot};

use crate::convert::{Mapping, Outcome};
use crate::objects::Key;
use crate::source::{Resource, Scope};

pub(crate) use entry::{Entry, Facts, Node, Pod, Service};
pub(crate) use interner::{Interner, Zones};
pub(crate) use slice::{Family, Member, Slice, SlicePort};

#[derive(Debug)]
pub(crate) struct Cluster {
    mapping: Mapping,
    services: BTreeMap<Key, Box<Service>>,
    /// The slices of each service, by their own names.
    slices: HashMap<Key, BTreeMap<Key, Slice>>,
    /// The service of each slice.
    owners: HashMap<Key, Key>,
    facts: Facts,
    /// The services of each pod, once for each time that a slice names it.
    users: HashMap<Key, Vec<Key>>,
    /// The namespaces that are selected, where they are.
    namespaces: BTreeSet<Arc<str>>,
    unreadable: BTreeMap<(Resource, Key), String>,
    /// Services that are to be converted anew.
    changed: BTreeSet<Key>,
    /// Whether it is known otherwise than before what is not readable.
    reports: bool,
    built: BTreeMap<Key, Outcome>,
}

impl Cluster {
    /// An empty one. The facts count until their resources are listed.
    pub(crate) fn new(mapping: Mapping, facts: Facts) -> Self {
        Self {
            mapping,
            facts,
            services: BTreeMap::new(),
            slices: HashMap::new(),
            owners: HashMap::new(),
            users: HashMap::new(),
            namespaces: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            changed: BTreeSet::new(),
            reports: false,
            built: BTreeMap::new(),
        }
    }

    /// This is all there is in that scope.
    pub(crate) fn list(&mut self, scope: &Scope, entries: Vec<(Key, Result<Entry, String>)>) {
        let listed: HashSet<&Key> = entries.iter().map(|(key, _)| key).collect();
        let gone = |key: &&Key| scope.contains(&key.namespace) && !listed.contains(*key);
        let gone: Vec<Key> = self.keys(scope.resource).iter().filter(gone).cloned().collect();
        for key in gone {
            self.delete(scope.resource, &key);
        }
        for (key, entry) in entries {
            self.put(scope.resource, key, entry);
        }
    }

    /// Takes out what another cluster may begin with.
    pub(crate) fn take_facts(&mut self) -> Facts {
        std::mem::take(&mut self.facts)
    }

    fn keys(&self, resource: Resource) -> Vec<Key> {
        let global = |name: &Arc<str>| Key { namespace: Arc::from(""), name: Arc::clone(name) };
        let mut keys: Vec<Key> = match resource {
            Resource::Services => self.services.keys().cloned().collect(),
            Resource::Slices => self.owners.keys().cloned().collect(),
            Resource::Pods => self.facts.pods.keys().cloned().collect(),
            Resource::Nodes => self.facts.nodes.keys().map(global).collect(),
            Resource::Namespaces => self.namespaces.iter().map(global).collect(),
            Resource::VirtualServices
            | Resource::DestinationRules
            | Resource::ServiceEntries
            | Resource::WorkloadEntries
            | Resource::Gateways => Vec::new(),
        };
        keys.extend(self.unreadable.keys().filter(|(of, _)| *of == resource).map(|(_, key)| key.clone()));
        keys
    }

    /// An object is there, or is there and cannot be read. Of the latter, what it was before stays.
    pub(crate) fn put(&mut self, resource: Resource, key: Key, entry: Result<Entry, String>) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                self.reports = true;
                self.unreadable.insert((resource, key), why);
                return;
            }
        };
        self.readable(resource, &key);
        match entry {
            Entry::Service(service) => {
                if self.services.get(&key) != Some(&service) {
                    self.services.insert(key.clone(), service);
                    self.changed.insert(key);
                }
            }
            Entry::Slice(slice) => self.set_slice(key, Some(slice)),
            Entry::Pod(pod) => {
                if self.facts.pods.get(&key) != Some(&pod) {
                    self.pod_changed(&key);
                    self.facts.pods.insert(key, pod);
                }
            }
            Entry::Node(node) => {
                if self.facts.nodes.get(&key.name) != Some(&node) {
                    self.node_changed(&key.name);
                    self.facts.nodes.insert(key.name, node);
                }
            }
            Entry::Namespace => {
                self.namespace_changed(&key.name);
                self.namespaces.insert(key.name);
            }
        }
    }

    /// An object is gone.
    pub(crate) fn delete(&mut self, resource: Resource, key: &Key) {
        self.readable(resource, key);
        match resource {
            Resource::Services => {
                if self.services.remove(key).is_some() {
                    self.changed.insert(key.clone());
                }
            }
            Resource::Slices => self.set_slice(key.clone(), None),
            Resource::Pods => {
                if self.facts.pods.remove(key).is_some() {
                    self.pod_changed(key);
                }
            }
            Resource::Nodes => {
                if self.facts.nodes.remove(&key.name).is_some() {
                    self.node_changed(&key.name);
                }
            }
            Resource::Namespaces => {
                if self.namespaces.remove(&key.name) {
                    self.namespace_changed(&key.name);
                }
            }
            Resource::VirtualServices
            | Resource::DestinationRules
            | Resource::ServiceEntries
            | Resource::WorkloadEntries
            | Resource::Gateways => {}
        }
    }

    fn readable(&mut self, resource: Resource, key: &Key) {
        if !self.unreadable.is_empty() && self.unreadable.remove(&(resource, key.clone())).is_some() {
            self.reports = true;
        }
    }

    /// Whether a snapshot would be another one than the last, or what is skipped.
    pub(crate) fn has_news(&self) -> bool {
        self.reports || !self.changed.is_empty()
    }

    fn set_slice(&mut self, key: Key, slice: Option<Slice>) {
        let owner = self.owners.get(&key).cloned();
        let old = owner.as_ref().and_then(|owner| self.slices.get_mut(owner)?.remove(&key));
        if old.is_some() && old == slice {
            let (Some(owner), Some(old)) = (owner, old) else { return };
            self.slices.entry(owner).or_default().insert(key, old);
            return;
        }
        if let (Some(owner), Some(old)) = (owner, old) {
            self.owners.remove(&key);
            self.forget_members(&owner, &old);
            if self.slices.get(&owner).is_some_and(BTreeMap::is_empty) {
                self.slices.remove(&owner);
            }
            self.changed.insert(owner);
        }
        if let Some(slice) = slice
            && let Some(owner) = slice.service.clone()
        {
            self.note_members(&owner, &slice);
            self.changed.insert(owner.clone());
            self.owners.insert(key.clone(), owner.clone());
            self.slices.entry(owner).or_default().insert(key, slice);
        }
    }

    fn note_members(&mut self, owner: &Key, slice: &Slice) {
        if self.mapping.pods {
            for pod in slice.members.iter().filter_map(|member| member.pod.as_ref()) {
                self.users.entry(pod.clone()).or_default().push(owner.clone());
            }
        }
    }

    fn forget_members(&mut self, owner: &Key, slice: &Slice) {
        for pod in slice.members.iter().filter_map(|member| member.pod.as_ref()) {
            let Some(users) = self.users.get_mut(pod) else { continue };
            if let Some(at) = users.iter().position(|user| user == owner) {
                users.swap_remove(at);
            }
            if users.is_empty() {
                self.users.remove(pod);
            }
        }
    }

    fn pod_changed(&mut self, pod: &Key) {
        self.changed.extend(self.users.get(pod).into_iter().flatten().cloned());
    }

    /// Nodes change rarely: looking through everything is cheaper than an index.
    fn node_changed(&mut self, node: &str) {
        let on = |slice: &Slice| slice.members.iter().any(|member| member.node.as_deref() == Some(node));
        let concerned = self.slices.iter().filter(|(_, slices)| slices.values().any(on));
        self.changed.extend(concerned.map(|(owner, _)| owner.clone()));
    }

    fn namespace_changed(&mut self, namespace: &str) {
        let within = self.services.keys().filter(|key| *key.namespace == *namespace);
        self.changed.extend(within.cloned());
    }

    /// The services as they are now. `skipped` is told what is left out, and why; `note` what there is to say of
    /// what is not.
    pub(crate) fn snapshot(
        &mut self,
        mut skipped: impl FnMut(String, String),
        mut note: impl FnMut(String, String),
    ) -> Snapshot {
        self.reports = false;
        for key in std::mem::take(&mut self.changed) {
            match self.build(&key) {
                Some(outcome) => self.built.insert(key, outcome),
                None => self.built.remove(&key),
            };
        }
        for ((resource, key), why) in &self.unreadable {
            skipped(format!("{} {key}", resource.as_str()), why.clone());
        }
        let mut hosts: HashMap<&Hostname, &Key> = HashMap::new();
        let mut services = Vec::new();
        for (key, outcome) in &self.built {
            outcome.skipped.iter().for_each(|(entry, why)| skipped(entry.clone(), why.clone()));
            outcome.notes.iter().for_each(|(entry, what)| note(entry.clone(), what.clone()));
            let Some(service) = &outcome.service else { continue };
            if let Some(other) = hosts.get(&service.host) {
                let why = format!("service {other} has the same host, {}", service.host);
                skipped(format!("services {key}"), why);
                continue;
            }
            hosts.insert(&service.host, key);
            services.push(Arc::clone(service));
        }
        Snapshot::new(services).expect("hosts are there once")
    }

    fn build(&self, key: &Key) -> Option<Outcome> {
        let service = self.services.get(key)?;
        if self.mapping.selects_namespaces && !self.namespaces.contains(&key.namespace) {
            return None;
        }
        let slices = self.slices.get(key).into_iter().flatten();
        self.mapping.outcome(key, service, slices, &self.facts)
    }
}
