//! A resource that extends another one. The common part is stored once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use pilot_envoy_api::google::protobuf::Any;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, string};
use xxhash_rust::xxh3::Xxh3;

use super::Resource;

/// The fields of `envoy.service.discovery.v3.Resource`.
const VERSION: u32 = 1;
const RESOURCE: u32 = 2;
const NAME: u32 = 3;

/// Those of `google.protobuf.Any`.
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;

/// Another resource, and what is appended to its message: for protobuf that is one message, too.
pub(super) struct Joined {
    base: Arc<Resource>,
    more: Bytes,
    /// As it was put together last, for as long as somebody sends it: all who send it at once share it.
    whole: Mutex<Weak<Vec<u8>>>,
}

/// Keeps the bytes that were put together for as long as some of them are not sent.
struct Kept(Arc<Vec<u8>>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Joined {
    pub(super) fn new(base: &Arc<Resource>, more: Bytes) -> Self {
        Self { base: Arc::clone(base), more, whole: Mutex::default() }
    }

    pub(super) fn base(&self) -> &Resource {
        &self.base
    }

    /// The hash of the message as a whole.
    pub(super) fn version(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(&self.inner().value);
        hash.update(&self.more);
        format!("{:016x}", hash.digest())
    }

    /// The whole as delta responses hold it: an encoded `envoy.service.discovery.v3.Resource`.
    pub(super) fn delta(&self, name: &str, version: &str) -> Bytes {
        let mut last = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = last.upgrade().unwrap_or_else(|| {
            let whole = Arc::new(self.put_together(name, version));
            *last = Arc::downgrade(&whole);
            whole
        });
        Bytes::from_owner(Kept(whole))
    }

    fn inner(&self) -> Any {
        Any::decode(self.base.any_bytes()).expect("what was encoded here can be decoded")
    }

    /// Written field by field, so that what may be megabytes is copied once.
    fn put_together(&self, name: &str, version: &str) -> Vec<u8> {
        let Any { type_url, value } = self.inner();
        let (name, version) = (name.to_owned(), version.to_owned());
        let value_len = value.len() + self.more.len();
        let any_len = string::encoded_len(ANY_TYPE_URL, &type_url) + field_len(ANY_VALUE, value_len);
        let strings = string::encoded_len(VERSION, &version) + string::encoded_len(NAME, &name);
        let mut whole = Vec::with_capacity(strings + field_len(RESOURCE, any_len));
        string::encode(VERSION, &version, &mut whole);
        begin(RESOURCE, any_len, &mut whole);
        string::encode(ANY_TYPE_URL, &type_url, &mut whole);
        begin(ANY_VALUE, value_len, &mut whole);
        whole.extend_from_slice(&value);
        whole.extend_from_slice(&self.more);
        string::encode(NAME, &name, &mut whole);
        whole
    }
}

impl PartialEq for Joined {
    fn eq(&self, other: &Self) -> bool {
        self.more == other.more && (Arc::ptr_eq(&self.base, &other.base) || self.base == other.base)
    }
}

fn begin(field: u32, len: usize, whole: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, whole);
    encode_varint(len as u64, whole);
}

fn field_len(field: u32, len: usize) -> usize {
    key_len(field) + encoded_len_varint(len as u64) + len
}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
    use pilot_envoy_api::envoy::service::discovery::v3 as discovery;

    use super::*;
    use crate::resources::{ResourceType, Typed};

    fn routes(name: &str, hosts: &[&str]) -> RouteConfiguration {
        let host = |name: &&str| VirtualHost { name: (*name).to_owned(), ..Default::default() };
        let virtual_hosts = hosts.iter().map(host).collect();
        RouteConfiguration { name: name.into(), virtual_hosts, ..Default::default() }
    }

    fn cluster(name: &str) -> (ResourceType, Arc<str>) {
        (ResourceType::Cluster, name.into())
    }

    fn base() -> Arc<Resource> {
        Arc::new(Resource::new("80".into(), &routes("80", &["a", "b"]), vec![cluster("a")], false))
    }

    fn more(hosts: &[&str]) -> Resource {
        Resource::extending(&base(), &routes("", hosts), vec![cluster("c")])
    }

    #[test]
    fn the_whole_is_one_message() {
        let joined = more(&["c"]);
        let delta = discovery::Resource::decode(joined.delta_bytes()).unwrap();
        assert_eq!((delta.name.as_str(), delta.version.as_str()), ("80", joined.version()));
        assert_eq!(delta.encoded_len(), joined.delta_bytes().len());
        let any = Any::decode(joined.any_bytes()).unwrap();
        assert_eq!(delta.resource.as_ref(), Some(&any));
        assert_eq!(any.type_url, RouteConfiguration::TYPE.type_url());
        assert_eq!(RouteConfiguration::decode(any.value).unwrap(), routes("80", &["a", "b", "c"]));
        assert!(joined.references().eq(&[cluster("a"), cluster("c")]));
    }

    #[test]
    fn the_version_is_the_hash_of_the_whole() {
        let (joined, other) = (more(&["c"]), more(&["d"]));
        let value = Any::decode(joined.any_bytes()).unwrap().value;
        assert_eq!(joined.version(), format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&value)));
        assert_ne!(joined.version(), other.version());
    }

    #[test]
    fn equal_is_what_a_client_cannot_tell_apart() {
        let joined = more(&["c"]);
        assert_eq!(joined, more(&["c"]));
        assert_ne!(joined, more(&["d"]));
        let any = Any::decode(joined.any_bytes()).unwrap();
        let whole = Resource::from_any("80".into(), joined.version().into(), any, Vec::new(), false);
        assert_eq!(joined, whole);
        assert_eq!(whole, joined);
        assert_ne!(joined, *base());
    }

    /// Who sends it shares the bytes, and they are gone when all is sent.
    #[test]
    fn the_whole_is_there_for_as_long_as_it_is_sent() {
        let joined = more(&["c"]);
        let (one, other) = (joined.delta_bytes(), joined.any_bytes());
        assert!(one.as_ptr_range().contains(&other.as_ptr()));
        drop(one);
        let super::super::Content::Joined(kept) = &joined.content else { panic!("it is joined") };
        assert_eq!(kept.whole.lock().unwrap().strong_count(), 1);
        drop(other);
        assert_eq!(kept.whole.lock().unwrap().strong_count(), 0);
    }
}
