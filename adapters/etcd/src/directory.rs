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

use crate::convert;
use crate::document::{Description, Instance};
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

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) keys: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Host {
    description: Option<Slot<Description>>,
    instances: BTreeMap<String, Slot<Instance>>,
    service: Option<Arc<Service>>,
    /// Keys, and why they are left out or not what they say.
    reports: Vec<(String, String)>,
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

impl Directory {
    pub(crate) fn new(keys: Keys) -> Self {
        let (hosts, strays, stale) = Default::default();
        Self { keys, hosts, strays, stale, size: Size::default() }
    }

    /// How much there is.
    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// That key has this value now. `before` is what was in force before a new list, of which this directory
    /// is made.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], before: Option<&Self>) {
        let bytes = key.len() + value.len();
        self.size.keys += 1;
        self.size.bytes += bytes;
        let replaced = match self.keys.place(key) {
            Ok(Place::Service(name)) => {
                let parsed = Description::parse(value)
                    .and_then(|description| convert::check(&name, &description).map(|()| description));
                let old = before.and_then(|before| before.hosts.get(&name)?.description.as_ref());
                let host = self.stale(name);
                let old = host.description.as_ref().or(old);
                let slot = Slot::new(parsed, bytes, old);
                host.description.replace(slot).map(|slot| slot.bytes)
            }
            Ok(Place::Instance(name, id)) => {
                let old = before.and_then(|before| before.hosts.get(&name)?.instances.get(&id));
                let host = self.stale(name);
                let old = host.instances.get(&id).or(old);
                let slot = Slot::new(Instance::parse(value), bytes, old);
                host.instances.insert(id, slot).map(|slot| slot.bytes)
            }
            Err(why) => self.strays.insert(key.to_vec(), (why, bytes)).map(|(_, bytes)| bytes),
        };
        self.forget(replaced);
    }

    /// That key is gone.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        let removed = match self.keys.place(key) {
            Ok(Place::Service(name)) => self.stale(name).description.take().map(|slot| slot.bytes),
            Ok(Place::Instance(name, id)) => self.stale(name).instances.remove(&id).map(|slot| slot.bytes),
            Err(_) => self.strays.remove(key).map(|(_, bytes)| bytes),
        };
        self.forget(removed);
    }

    /// Publishes what is in force, and reports what is left out.
    pub(crate) fn publish(&mut self, sink: &SnapshotSink) {
        for name in std::mem::take(&mut self.stale) {
            self.build(&name);
        }
        for (key, (why, _)) in &self.strays {
            sink.skipped(String::from_utf8_lossy(key), why);
        }
        for (key, why) in self.hosts.values().flat_map(|host| &host.reports) {
            sink.skipped(key, why);
        }
        let services = self.hosts.values().filter_map(|host| host.service.clone());
        sink.publish(Snapshot::new(services).expect("the map's keys are the services' hosts"));
    }

    fn stale(&mut self, name: Hostname) -> &mut Host {
        self.stale.insert(name.clone());
        self.hosts.entry(name).or_default()
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
        let (service, left_out) = convert::service(name, description, instances);
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

    const GOOD: &[u8] = br#"{"address": "10.0.0.1", "port": 80}"#;

    fn published(directory: &mut Directory) -> (usize, BTreeMap<String, String>) {
        let (sink, feed) = pilot_registry::channel();
        directory.publish(&sink);
        let skipped = feed.with_state(|state| BTreeMap::clone(&state.skipped));
        (feed.published().unwrap().value.endpoint_count(), skipped)
    }

    #[test]
    fn nonsense_leaves_the_last_good_value_also_after_a_new_list() {
        let key = b"/pilot/v1/instances/a.local/1";
        let mut directory = Directory::new(Keys::new("/pilot"));
        directory.put(key, GOOD, None);
        assert_eq!(published(&mut directory), (1, BTreeMap::new()));
        directory.put(key, b"{", None);
        let (endpoints, skipped) = published(&mut directory);
        assert_eq!(endpoints, 1);
        assert!(skipped["/pilot/v1/instances/a.local/1"].ends_with("its last good version stays in force"));

        let mut again = Directory::new(Keys::new("/pilot"));
        again.put(key, b"{", Some(&directory));
        assert_eq!(published(&mut again).0, 1);
        again.remove(key);
        assert_eq!(published(&mut again), (0, BTreeMap::new()));
        assert_eq!(again.size(), Size::default());
    }

    #[test]
    fn what_never_made_sense_hides_only_itself() {
        let mut directory = Directory::new(Keys::new("/pilot"));
        directory.put(b"/pilot/v1/instances/a.local/1", GOOD, None);
        directory.put(b"/pilot/v1/instances/a.local/2", b"[]", None);
        directory.put(b"/pilot/v1/services/b.local", b"{}", None);
        directory.put(b"/pilot/v1/other", b"{}", None);
        let (endpoints, skipped) = published(&mut directory);
        let keys: Vec<&str> = skipped.keys().map(String::as_str).collect();
        assert_eq!(endpoints, 1);
        let expected = ["/pilot/v1/instances/a.local/2", "/pilot/v1/other", "/pilot/v1/services/b.local"];
        assert_eq!(keys, expected);
        assert_eq!(directory.size().keys, 4);
    }
}
