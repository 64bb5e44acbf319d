//! One encoded resource.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use pilot_envoy_api::envoy::service::discovery::v3 as discovery;
use pilot_envoy_api::google::protobuf::Any;
use prost::{Message, Name};
use xxhash_rust::xxh3::Xxh3;

use super::ResourceType;
use super::content::content_hash;
use super::origin::Origin;
use super::rope::Rope;
use super::virtual_host::VirtualHost;

/// One resource, encoded.
pub struct Resource {
    name: Arc<str>,
    version: Box<str>,
    references: Box<[(ResourceType, Arc<str>)]>,
    by_name_only: bool,
    fingerprint: u64,
    origin: Origin,
    content: Content,
}

/// What is sent.
enum Content {
    /// An encoded `envoy.service.discovery.v3.Resource`, and the encoded `google.protobuf.Any` inside of it.
    Whole { delta: Bytes, any: Bytes },
    /// A route configuration, put together while somebody sends it.
    Rope(Rope),
}

impl Resource {
    /// Encodes a resource. `references` names the resources that it does not work without.
    pub fn new<M: Message + Name>(
        name: Arc<str>,
        message: &M,
        references: Vec<(ResourceType, Arc<str>)>,
        origin: Origin,
    ) -> Self {
        let value = Bytes::from(message.encode_to_vec());
        let clusters = references.iter().filter(|(kind, _)| *kind == ResourceType::Cluster);
        let version = format!("{:016x}", content_hash(&value, clusters.map(|(_, name)| name), &origin));
        let any = Any { type_url: M::type_url(), value };
        Self::from_any(name, version, any, references, origin)
    }

    /// A resource that is encoded already, with a version that the caller answers for: equal versions
    /// mean equal bytes.
    pub fn from_any(
        name: Arc<str>,
        version: String,
        any: Any,
        references: Vec<(ResourceType, Arc<str>)>,
        origin: Origin,
    ) -> Self {
        let any_len = any.encoded_len();
        let resource = discovery::Resource {
            name: name.as_ref().to_owned(),
            version: version.clone(),
            resource: Some(any),
            ..Default::default()
        };
        let delta = Bytes::from(resource.encode_to_vec());
        let any = inner_any(&delta);
        debug_assert_eq!(any.len(), any_len, "the field is the Any");
        let content = Content::Whole { delta, any };
        Self::with_content(name, version, references, origin, content)
    }

    /// A route configuration. It takes the memory of what it shares with no other, and that of the whole message
    /// only while somebody sends it.
    pub fn from_rope(name: Arc<str>, rope: Rope, origin: Origin) -> Self {
        Self::with_content(name, rope.version(), Vec::new(), origin, Content::Rope(rope))
    }

    fn with_content(
        name: Arc<str>,
        version: String,
        references: Vec<(ResourceType, Arc<str>)>,
        origin: Origin,
        content: Content,
    ) -> Self {
        let fingerprint = fingerprint(&name, &version);
        let (version, references) = (version.into(), references.into());
        Self { name, version, references, by_name_only: false, fingerprint, origin, content }
    }

    /// The same, as one that is not part of the wildcard: only clients that ask for its name get it.
    #[must_use]
    pub fn by_name_only(mut self) -> Self {
        self.by_name_only = true;
        self
    }

    /// The resource's name, unique in its type.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hash of the content.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it is there for.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A hash of name and version.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The virtual hosts of a route configuration that is put together from some.
    pub fn rope(&self) -> Option<&Rope> {
        match &self.content {
            Content::Whole { .. } => None,
            Content::Rope(rope) => Some(rope),
        }
    }

    /// The resources that it does not work without. Of a rope, a cluster is named once for each virtual host that
    /// names it.
    pub fn references(&self) -> impl Iterator<Item = (ResourceType, &Arc<str>)> {
        let own = self.references.iter().map(|(kind, name)| (*kind, name));
        let hosts = self.rope().into_iter().flat_map(Rope::virtual_hosts);
        let clusters = hosts.flat_map(VirtualHost::clusters);
        own.chain(clusters.map(|name| (ResourceType::Cluster, name)))
    }

    /// Whether only clients that ask for its name get it.
    pub fn is_by_name_only(&self) -> bool {
        self.by_name_only
    }

    /// The resource as SotW responses hold it: an encoded `google.protobuf.Any`.
    pub fn any_bytes(&self) -> Bytes {
        match &self.content {
            Content::Whole { any, .. } => any.clone(),
            Content::Rope(rope) => inner_any(&rope.delta(&self.name, &self.version)),
        }
    }

    /// The resource as delta responses hold it: an encoded `envoy.service.discovery.v3.Resource`.
    pub fn delta_bytes(&self) -> Bytes {
        match &self.content {
            Content::Whole { delta, .. } => delta.clone(),
            Content::Rope(rope) => rope.delta(&self.name, &self.version),
        }
    }
}

fn fingerprint(name: &str, version: &str) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(name.as_bytes());
    hash.update(&[0]);
    hash.update(version.as_bytes());
    hash.digest()
}

/// The slice of an encoded `Resource` that is its `Any`: no field that follows it is ever set here, so it
/// is the field with number 2 (fields are written in the order of their numbers: version 1, resource 2,
/// name 3).
fn inner_any(delta: &Bytes) -> Bytes {
    let mut rest = delta.clone();
    while !rest.is_empty() {
        let Ok((tag, _)) = prost::encoding::decode_key(&mut rest) else { break };
        let Ok(len) = prost::encoding::decode_varint(&mut rest) else { break };
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
        let value = rest.split_to(len);
        if tag == 2 {
            return value;
        }
    }
    Bytes::new()
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// Two resources are equal when a client could not tell them apart: equal versions mean equal content.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
            && self.version == other.version
            && self.name == other.name
            && self.by_name_only == other.by_name_only
    }
}

/// Equal for itself, so that `Arc` compares addresses first.
impl Eq for Resource {}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::envoy::config::cluster::v3::Cluster;

    use super::*;

    #[test]
    fn both_forms_share_one_allocation_and_decode_to_the_message() {
        let cluster = Cluster { name: "a".into(), ..Default::default() };
        let resource = Resource::new("a".into(), &cluster, Vec::new(), Origin::Shared);
        let any = Any::decode(resource.any_bytes()).unwrap();
        assert_eq!(Cluster::decode(any.value.clone()).unwrap(), cluster);
        let delta = discovery::Resource::decode(resource.delta_bytes()).unwrap();
        assert_eq!((delta.name.as_str(), delta.resource), ("a", Some(any)));
        assert_eq!(delta.version, resource.version());
        let (outer, inner) = (resource.delta_bytes(), resource.any_bytes());
        assert!(outer.as_ptr_range().contains(&inner.as_ptr()));
    }
}
