//! A route configuration as a rope: shared virtual hosts, and a hash of their hashes.
//!
//! ```text
//!  Rope ── head (name and options, encoded)
//!    └── virtual hosts, by name ──► Arc<VirtualHost>   encoded once, shared by all ropes that hold it
//! ```
//!
//! A rope that differs from another in one virtual host costs one pointer and one hash, whatever it holds. The whole
//! message exists while somebody sends it.

use std::ops::Bound;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::Mutex;
use pilot_envoy_api::envoy::config::route::v3 as route;
use prost::{Message, Name};
use xxhash_rust::xxh3::Xxh3;

use super::virtual_host::VirtualHost;
use super::wire::{begin, field_len, resource};

/// `envoy.config.route.v3.RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;

/// A route configuration and its virtual hosts.
#[derive(Debug)]
pub struct Rope {
    /// The message without virtual hosts, encoded.
    head: Bytes,
    hosts: OrdMap<Arc<str>, Arc<VirtualHost>>,
    /// The bytes that all virtual hosts take.
    len: usize,
    /// The sum of their hashes: independent of order, and cheap to keep up to date.
    hash: u64,
    /// Of how many of them no more is known than that a client has them.
    unknown: usize,
    /// How many virtual hosts there are of which nothing is known but that a client has them.
    blank: usize,
    /// As it was put together last, for as long as somebody sends it: all who send it at once share it.
    whole: Mutex<Weak<Vec<u8>>>,
}

/// What became of a virtual host between two ropes.
#[derive(Clone, Debug, PartialEq)]
pub struct HostChange {
    /// As it was; `None` = it was not there.
    pub before: Option<Arc<VirtualHost>>,
    /// As it is; `None` = it is gone.
    pub now: Option<Arc<VirtualHost>>,
}

impl HostChange {
    /// The virtual host's name.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.now.as_ref().or(self.before.as_ref()).map(|host| host.name())
    }

    /// Whether it is not known what it was.
    pub fn is_from_unknown(&self) -> bool {
        self.before.as_ref().is_some_and(|before| !before.is_known())
    }
}

impl Clone for Rope {
    fn clone(&self) -> Self {
        let (head, hosts) = (self.head.clone(), self.hosts.clone());
        Self {
            head,
            hosts,
            len: self.len,
            hash: self.hash,
            unknown: self.unknown,
            blank: self.blank,
            whole: Mutex::default(),
        }
    }
}

impl Rope {
    /// A route configuration without virtual hosts. Those of `head` are ignored.
    pub fn new(head: &route::RouteConfiguration) -> Self {
        let head = route::RouteConfiguration { virtual_hosts: Vec::new(), ..head.clone() };
        Self {
            head: head.encode_to_vec().into(),
            hosts: OrdMap::new(),
            len: 0,
            hash: 0,
            unknown: 0,
            blank: 0,
            whole: Mutex::default(),
        }
    }

    /// Adds a virtual host, or replaces the one of its name.
    pub fn insert(&mut self, host: Arc<VirtualHost>) {
        self.len += encoded_len(&host);
        self.hash = self.hash.wrapping_add(host.hash());
        self.unknown += usize::from(host.may_lead_anywhere());
        self.blank += usize::from(!host.is_known());
        let before = self.hosts.insert(Arc::clone(host.name()), host);
        self.forget(before);
    }

    /// Takes a virtual host away.
    pub fn remove(&mut self, name: &str) {
        let before = self.hosts.remove(name);
        self.forget(before);
    }

    fn forget(&mut self, before: Option<Arc<VirtualHost>>) {
        if let Some(before) = before {
            self.len -= encoded_len(&before);
            self.hash = self.hash.wrapping_sub(before.hash());
            self.unknown -= usize::from(before.may_lead_anywhere());
            self.blank -= usize::from(!before.is_known());
        }
        // What was put together is not of this content any more.
        self.whole = Mutex::default();
    }

    /// The virtual hosts, ordered by name.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = &VirtualHost> {
        self.hosts.values().map(|host| &**host)
    }

    /// The same, to be shared.
    pub fn shared_hosts(&self) -> impl Iterator<Item = &Arc<VirtualHost>> {
        self.hosts.values()
    }

    /// The virtual hosts whose names begin so, ordered by name.
    pub fn beginning_with<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a VirtualHost> {
        let from = self.hosts.range::<_, str>((Bound::Included(start), Bound::Unbounded));
        from.take_while(move |(name, _)| name.starts_with(start)).map(|(_, host)| &**host)
    }

    /// The virtual host of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<VirtualHost>> {
        self.hosts.get(name)
    }

    /// Whether all of its virtual hosts are known, so that it could be sent.
    pub fn is_known(&self) -> bool {
        self.blank == 0
    }

    /// Whether it has virtual hosts of which it is not known where they lead.
    pub fn may_lead_anywhere(&self) -> bool {
        self.unknown > 0
    }

    /// The same, of virtual hosts that lead nowhere any more.
    #[must_use]
    pub fn abandoned(&self) -> Self {
        let mut rope = self.clone();
        let leads = |host: &&Arc<VirtualHost>| host.may_lead_anywhere() || host.clusters().next().is_some();
        self.hosts.values().filter(leads).for_each(|host| rope.insert(Arc::new(host.abandoned())));
        rope
    }

    /// How many virtual hosts it has.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// What differs from an earlier rope, ordered by name. Costs what differs, if one came from the other.
    pub fn changes_since(&self, before: &Self) -> Vec<HostChange> {
        use imbl::ordmap::DiffItem;
        let changes = before.hosts.diff(&self.hosts).map(|item| match item {
            DiffItem::Add(_, now) => HostChange { before: None, now: Some(Arc::clone(now)) },
            DiffItem::Update { old: (_, before), new: (_, now) } => {
                HostChange { before: Some(Arc::clone(before)), now: Some(Arc::clone(now)) }
            }
            DiffItem::Remove(_, before) => HostChange { before: Some(Arc::clone(before)), now: None },
        });
        changes.collect()
    }

    /// A hash of the content.
    pub(super) fn version(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(&self.head);
        hash.update(&self.hash.to_le_bytes());
        hash.update(&(self.hosts.len() as u64).to_le_bytes());
        format!("{:016x}", hash.digest())
    }

    /// The whole as delta responses hold it: an encoded `envoy.service.discovery.v3.Resource`.
    pub(super) fn delta(&self, name: &str, version: &str) -> Bytes {
        let mut last = self.whole.lock();
        let whole = last.upgrade().unwrap_or_else(|| {
            let whole = Arc::new(self.put_together(name, version));
            *last = Arc::downgrade(&whole);
            whole
        });
        Bytes::from_owner(Sent(whole))
    }

    /// Written field by field, so that what may be megabytes is copied once.
    fn put_together(&self, name: &str, version: &str) -> Vec<u8> {
        let type_url = route::RouteConfiguration::type_url();
        resource(name, version, &type_url, self.head.len() + self.len, |whole| {
            whole.extend_from_slice(&self.head);
            for host in self.virtual_hosts() {
                begin(VIRTUAL_HOSTS, host.bytes().len(), whole);
                whole.extend_from_slice(host.bytes());
            }
        })
    }
}

/// Keeps the bytes that were put together for as long as some of them are not sent.
struct Sent(Arc<Vec<u8>>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes that a virtual host takes.
fn encoded_len(host: &VirtualHost) -> usize {
    field_len(VIRTUAL_HOSTS, host.bytes().len())
}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost as Host};
    use pilot_envoy_api::envoy::service::discovery::v3 as discovery;
    use pilot_envoy_api::google::protobuf::Any;

    use super::super::{Origin, Resource, ResourceType};
    use super::*;

    fn message(name: &str, hosts: &[&str]) -> RouteConfiguration {
        let host = |name: &&str| Host { name: (*name).to_owned(), ..Default::default() };
        let virtual_hosts = hosts.iter().map(host).collect();
        RouteConfiguration { name: name.into(), virtual_hosts, ..Default::default() }
    }

    fn host(name: &str) -> Arc<VirtualHost> {
        let message = Host { name: name.to_owned(), ..Default::default() };
        Arc::new(VirtualHost::new(&message, vec![format!("to-{name}").into()], Origin::Shared))
    }

    fn rope(hosts: &[&str]) -> Rope {
        let mut rope = Rope::new(&message("80", &[]));
        hosts.iter().for_each(|name| rope.insert(host(name)));
        rope
    }

    fn resource(hosts: &[&str]) -> Resource {
        Resource::from_rope("80".into(), rope(hosts), Origin::Shared)
    }

    #[test]
    fn the_whole_is_one_message() {
        let routes = resource(&["c", "a", "b"]);
        let delta = discovery::Resource::decode(routes.delta_bytes()).unwrap();
        assert_eq!((delta.name.as_str(), delta.version.as_str()), ("80", routes.version()));
        assert_eq!(delta.encoded_len(), routes.delta_bytes().len());
        let any = Any::decode(routes.any_bytes()).unwrap();
        assert_eq!(delta.resource.as_ref(), Some(&any));
        assert_eq!(any.type_url, ResourceType::Route.type_url());
        assert_eq!(RouteConfiguration::decode(any.value).unwrap(), message("80", &["a", "b", "c"]));
        let names: Vec<_> = routes.references().map(|(_, name)| &**name).collect();
        assert_eq!(names, ["to-a", "to-b", "to-c"]);
    }

    #[test]
    fn equal_content_is_equal_however_it_came_about() {
        let mut other = rope(&["b", "x", "a"]);
        other.remove("x");
        other.insert(host("c"));
        let other = Resource::from_rope("80".into(), other, Origin::Shared);
        assert_eq!(other, resource(&["a", "b", "c"]));
        assert_eq!(other.delta_bytes(), resource(&["a", "b", "c"]).delta_bytes());
        for different in [resource(&["a", "b"]), resource(&["a", "b", "d"]), resource(&[])] {
            assert_ne!(other, different);
        }
    }

    #[test]
    fn what_differs_is_found_in_the_order_of_names() {
        let before = rope(&["a", "b", "c"]);
        let mut now = before.clone();
        now.remove("a");
        now.insert(host("d"));
        let changes = now.changes_since(&before);
        let expected = [
            HostChange { before: Some(host("a")), now: None },
            HostChange { before: None, now: Some(host("d")) },
        ];
        assert_eq!(changes, expected);
    }

    /// Who sends it shares the bytes, and they are gone when all is sent.
    #[test]
    fn the_whole_is_there_for_as_long_as_it_is_sent() {
        let routes = resource(&["c"]);
        let (one, other) = (routes.delta_bytes(), routes.any_bytes());
        assert!(one.as_ptr_range().contains(&other.as_ptr()));
        drop(one);
        let rope = routes.rope().unwrap();
        assert_eq!(rope.whole.lock().strong_count(), 1);
        drop(other);
        assert_eq!(rope.whole.lock().strong_count(), 0);
    }
}
