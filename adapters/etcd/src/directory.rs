//! All keys with their last good values, and the services that they make.
//!
//! A change rebuilds only the services that it concerns.
//!
//! - A value that makes no sense leaves the key's last good value in force, and is reported.
//! - A key that is deleted is gone.
//! - A key of which only nonsense was ever read is as good as absent, and is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{Hostname, Service, Snapshot, SnapshotSink};

use crate::convert::{self, Outcome, Settled};
use crate::document::{Description, Instance};
use crate::kept::{Entry, Kept, Size};
use crate::keys::{Keys, Place};

/// All keys and their values.
#[derive(Debug)]
pub(crate) struct Directory {
    keys: Keys,
    hosts: BTreeMap<Hostname, Host>,
    /// Keys that stand for nothing: why, and how large they are.
    strays: BTreeMap<Vec<u8>, (String, usize)>,
    /// The hosts that have to be built again.
    stale: BTreeSet<Hostname>,
    size: Size,
}

#[derive(Debug, Default)]
struct Host {
    description: Option<Slot<Description>>,
    instances: BTreeMap<String, Slot<Instance>>,
    service: Option<Arc<Service>>,
    settled: Settled,
    /// Keys, and why they are left out or not what they say.
    reports: Vec<(String, String)>,
    /// What there is to say of keys that count, and of the service.
    notes: Vec<(String, String)>,
}

/// A key that is there.
#[derive(Debug)]
struct Slot<T> {
    /// In force. `None` = the value never made sense.
    good: Option<Arc<T>>,
    /// What is wrong with the value as it is now.
    wrong: Option<String>,
    bytes: usize,
}

impl Kept for Directory {
    type Value = Snapshot;

    const LISTING: &'static str = "listing the services in etcd";
    const WATCHING: &'static str = "watching the services in etcd";

    fn new(keys: &Keys) -> Self {
        let (hosts, strays, stale) = Default::default();
        Self { keys: keys.clone(), hosts, strays, stale, size: Size::default() }
    }

    fn size(&self) -> Size {
        self.size
    }

    fn put(&mut self, Entry { key, value, .. }: Entry<'_>, before: Option<&Self>) {
        let bytes = key.len() + value.len();
        self.size.keys += 1;
        self.size.bytes += bytes;
        let replaced = match self.keys.place(key) {
            Ok(Place::Service(name)) => {
                let parsed = Description::parse(value)
                    .and_then(|description| convert::check(&name, &description).map(|()| description));
                let before = before.and_then(|before| before.hosts.get(&name));
                let old = before.and_then(|before| before.description.as_ref());
                let host = self.stale(name, before);
                let old = host.description.as_ref().or(old);
                let slot = Slot::new(parsed, bytes, old);
                host.description.replace(slot).map(|slot| slot.bytes)
            }
            Ok(Place::Instance(name, id)) => {
                let before = before.and_then(|before| before.hosts.get(&name));
                let old = before.and_then(|before| before.instances.get(&id));
                let host = self.stale(name, before);
                let old = host.instances.get(&id).or(old);
                let slot = Slot::new(Instance::parse(value), bytes, old);
                host.instances.insert(id, slot).map(|slot| slot.bytes)
            }
            Err(why) => self.strays.insert(key.to_vec(), (why, bytes)).map(|(_, bytes)| bytes),
        };
        self.forget(replaced);
    }

    fn remove(&mut self, key: &[u8]) {
        let removed = match self.keys.place(key) {
            Ok(Place::Service(name)) => self.stale(name, None).description.take().map(|slot| slot.bytes),
            Ok(Place::Instance(name, id)) => {
                self.stale(name, None).instances.remove(&id).map(|slot| slot.bytes)
            }
            Err(_) => self.strays.remove(key).map(|(_, bytes)| bytes),
        };
        self.forget(removed);
    }

    fn publish(&mut self, sink: &SnapshotSink) {
        for name in std::mem::take(&mut self.stale) {
            self.build(&name);
        }
        for (key, (why, _)) in &self.strays {
            sink.skipped(String::from_utf8_lossy(key), why);
        }
        for (key, why) in self.hosts.values().flat_map(|host| &host.reports) {
            sink.skipped(key, why);
        }
        for (entry, note) in self.hosts.values().flat_map(|host| &host.notes) {
            sink.note(entry, note);
        }
        if self.size.keys == 0 {
            sink.note("prefix", format!("no key begins with {}", self.keys.root()));
        }
        let services = self.hosts.values().filter_map(|host| host.service.clone());
        sink.publish(Snapshot::new(services).expect("the map's keys are the services' hosts"));
    }
}

impl Directory {
    /// The host of that name, to be built again. What was settled of it `before` stays.
    fn stale(&mut self, name: Hostname, before: Option<&Host>) -> &mut Host {
        self.stale.insert(name.clone());
        self.hosts.entry(name).or_insert_with(|| Host {
            settled: before.map(|before| before.settled.clone()).unwrap_or_default(),
            ..Host::default()
        })
    }

    fn forget(&mut self, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.size.keys -= 1;
            self.size.bytes -= bytes;
        }
    }

    fn build(&mut self, name: &Hostname) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.description.is_none() && host.instances.is_empty() {
            self.hosts.remove(name);
            return;
        }
        host.build(name, &self.keys);
    }
}

impl Host {
    fn build(&mut self, name: &Hostname, keys: &Keys) {
        let description = self.description.as_ref().and_then(|slot| slot.good.as_deref());
        let instances =
            self.instances.iter().filter_map(|(id, slot)| Some((id.as_str(), slot.good.as_deref()?)));
        let outcome = convert::service(name, description, instances, &self.settled);
        let Outcome { service, settled, left_out, notes, about } = outcome;
        self.settled = settled;
        let notes = notes.into_iter().map(|(id, note)| (keys.instance(name, &id), note));
        self.notes = about.map(|about| (name.to_string(), about)).into_iter().chain(notes).collect();
        let wrong = self.description.iter().filter_map(|slot| Some((keys.service(name), slot.report()?)));
        let wrong_instances =
            self.instances.iter().filter_map(|(id, slot)| Some((keys.instance(name, id), slot.report()?)));
        let left_out = left_out.into_iter().map(|(id, why)| (keys.instance(name, &id), why));
        self.reports = wrong.chain(wrong_instances).chain(left_out).collect();
        // A value that was written again unchanged is the same service.
        if self.service.as_deref() != service.as_ref() {
            self.service = service.map(Arc::new);
        }
    }
}

impl<T> Slot<T> {
    fn new(parsed: Result<T, String>, bytes: usize, old: Option<&Self>) -> Self {
        match parsed {
            Ok(value) => Self { good: Some(Arc::new(value)), wrong: None, bytes },
            Err(why) => Self { good: old.and_then(|old| old.good.clone()), wrong: Some(why), bytes },
        }
    }

    fn report(&self) -> Option<String> {
        let instead = if self.good.is_some() { "; its last good version stays in force" } else { "" };
        self.wrong.as_ref().map(|why| format!("{why}{instead}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(key: &'a [u8], value: &'a [u8]) -> Entry<'a> {
        Entry { key, value, created: 1 }
    }

    const GOOD: &[u8] = br#"{"address": "10.0.0.1", "port": 80}"#;

    fn ports(directory: &mut Directory) -> Vec<u16> {
        let (sink, feed) = pilot_registry::channel();
        directory.publish(&sink);
        let snapshot = feed.published().unwrap().value;
        snapshot.services().iter().flat_map(|it| &it.ports).map(|port| port.number.get()).collect()
    }

    #[test]
    fn what_was_settled_stays_also_after_a_new_list_and_ends_with_the_last_key() {
        let instance = |id: u8, port: u16| {
            let key = format!("/pilot/v1/instances/a.local/{id}").into_bytes();
            (key, format!(r#"{{"address": "10.0.0.1", "port": {port}}}"#).into_bytes())
        };
        let (first, second) = (instance(1, 21_111), instance(2, 21_112));
        let mut directory = Directory::new(&Keys::new("/pilot"));
        directory.put(entry(&first.0, &first.1), None);
        directory.put(entry(&second.0, &second.1), None);
        assert_eq!(ports(&mut directory), [21_111]);
        directory.remove(&first.0);
        assert_eq!(ports(&mut directory), [21_111]);
        let mut again = Directory::new(&Keys::new("/pilot"));
        again.put(entry(&second.0, &second.1), Some(&directory));
        assert_eq!(ports(&mut again), [21_111]);
        again.remove(&second.0);
        assert_eq!(ports(&mut again), [0u16; 0]);
        again.put(entry(&second.0, &second.1), None);
        assert_eq!(ports(&mut again), [21_112]);
    }

    fn published(directory: &mut Directory) -> (usize, BTreeMap<String, String>) {
        let (sink, feed) = pilot_registry::channel();
        directory.publish(&sink);
        let skipped = feed.with_state(|state| BTreeMap::clone(&state.skipped));
        (feed.published().unwrap().value.endpoint_count(), skipped)
    }

    #[test]
    fn nonsense_leaves_the_last_good_value_also_after_a_new_list() {
        let key = b"/pilot/v1/instances/a.local/1";
        let mut directory = Directory::new(&Keys::new("/pilot"));
        directory.put(entry(key, GOOD), None);
        assert_eq!(published(&mut directory), (1, BTreeMap::new()));
        directory.put(entry(key, b"{"), None);
        let (endpoints, skipped) = published(&mut directory);
        assert_eq!(endpoints, 1);
        assert!(skipped["/pilot/v1/instances/a.local/1"].ends_with("its last good version stays in force"));

        let mut again = Directory::new(&Keys::new("/pilot"));
        again.put(entry(key, b"{"), Some(&directory));
        assert_eq!(published(&mut again).0, 1);
        again.remove(key);
        assert_eq!(published(&mut again), (0, BTreeMap::new()));
        assert_eq!(again.size(), Size::default());
    }

    #[test]
    fn what_never_made_sense_hides_only_itself() {
        let mut directory = Directory::new(&Keys::new("/pilot"));
        directory.put(entry(b"/pilot/v1/instances/a.local/1", GOOD), None);
        directory.put(entry(b"/pilot/v1/instances/a.local/2", b"[]"), None);
        directory.put(entry(b"/pilot/v1/services/b.local", b"{}"), None);
        directory.put(entry(b"/pilot/v1/other", b"{}"), None);
        let (endpoints, skipped) = published(&mut directory);
        let keys: Vec<&str> = skipped.keys().map(String::as_str).collect();
        assert_eq!(endpoints, 1);
        let expected = ["/pilot/v1/instances/a.local/2", "/pilot/v1/other", "/pilot/v1/services/b.local"];
        assert_eq!(keys, expected);
        assert_eq!(directory.size().keys, 4);
    }
}
