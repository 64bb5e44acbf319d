//! Encoded resources: each is encoded once and shared by all streams that send it.
//!
//! ```text
//!  translate ──► Resource ──► TypeSet (one per type) ──► ResourceSet (one per scope and generation)
//!                                                            │ what changed since the last generations
//!                                                            ▼
//!                                                          xds streams
//! ```
//!
//! A version is a hash of content: the same content has the same version after a restart and on every
//! replica.

mod index;
mod integrity;
mod joined;
mod json;
mod set;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use pilot_envoy_api::envoy::config;
use pilot_envoy_api::envoy::service::discovery::v3 as discovery;
use pilot_envoy_api::google::protobuf::Any;
use prost::{Message, Name};

pub use integrity::{Dangling, dangling};
pub use json::{JsonError, any_to_json, to_json};
pub use set::{Change, Changes, Patch, ResourceSet, TypeSet, Types};

use joined::Joined;

/// The four kinds of resources, in the order in which they are sent: make before break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoint,
    /// LDS.
    Listener,
    /// RDS.
    Route,
}

impl ResourceType {
    /// All types, in the order in which they are sent.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route];

    /// The name in `google.protobuf.Any` and in discovery requests.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The type that a discovery request names.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.type_url() == url)
    }

    /// `cds`, `eds`, `lds` or `rds`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoint => "eds",
            Self::Listener => "lds",
            Self::Route => "rds",
        }
    }

    /// Whether a client may ask for all resources of the type, and SotW responses are the full state.
    pub fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One resource, encoded.
pub struct Resource {
    name: Arc<str>,
    version: Box<str>,
    references: Box<[(ResourceType, Arc<str>)]>,
    by_name_only: bool,
    fingerprint: u64,
    content: Content,
}

/// What is sent.
enum Content {
    /// An encoded `envoy.service.discovery.v3.Resource`, and the encoded `google.protobuf.Any` inside of it.
    Whole { delta: Bytes, any: Bytes },
    /// Another resource, and more.
    Joined(Joined),
}

impl Resource {
    /// Encodes a resource. `references` names the resources that it does not work without. A resource
    /// `by_name_only` is not part of the wildcard: only clients that ask for its name get it.
    pub fn new<M: Message + Name>(
        name: Arc<str>,
        message: &M,
        references: Vec<(ResourceType, Arc<str>)>,
        by_name_only: bool,
    ) -> Self {
        let value = Bytes::from(message.encode_to_vec());
        let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&value));
        let any = Any { type_url: M::type_url(), value };
        Self::from_any(name, version, any, references, by_name_only)
    }

    /// A resource that is encoded already, with a version that the caller answers for: equal versions
    /// mean equal bytes.
    pub fn from_any(
        name: Arc<str>,
        version: String,
        any: Any,
        references: Vec<(ResourceType, Arc<str>)>,
        by_name_only: bool,
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
        let fingerprint = fingerprint(&name, &version);
        let (version, references) = (version.into(), references.into());
        Self { name, version, references, by_name_only, fingerprint, content }
    }

    /// A resource that has all that another one has, and more: what `more` holds is merged into that message, as
    /// protobuf does it (repeated fields are appended to). It takes the memory of what is more, and that of the
    /// whole only while somebody sends it. `references`: those of `more`.
    pub fn extending<M: Message>(
        base: &Arc<Self>,
        more: &M,
        references: Vec<(ResourceType, Arc<str>)>,
    ) -> Self {
        let joined = Joined::new(base, more.encode_to_vec().into());
        let version = joined.version();
        Self {
            name: Arc::clone(&base.name),
            fingerprint: fingerprint(&base.name, &version),
            version: version.into(),
            references: references.into(),
            by_name_only: base.by_name_only,
            content: Content::Joined(joined),
        }
    }

    /// The resource's name, unique in its type.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hash of the content.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A hash of name and version.
    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The resources that it does not work without.
    pub fn references(&self) -> impl Iterator<Item = &(ResourceType, Arc<str>)> {
        let base = match &self.content {
            Content::Whole { .. } => None,
            Content::Joined(joined) => Some(&joined.base().references),
        };
        base.into_iter().flatten().chain(&self.references)
    }

    /// Whether only clients that ask for its name get it.
    pub fn is_by_name_only(&self) -> bool {
        self.by_name_only
    }

    /// The resource as SotW responses hold it: an encoded `google.protobuf.Any`.
    pub fn any_bytes(&self) -> Bytes {
        match &self.content {
            Content::Whole { any, .. } => any.clone(),
            Content::Joined(joined) => inner_any(&joined.delta(&self.name, &self.version)),
        }
    }

    /// The resource as delta responses hold it: an encoded `envoy.service.discovery.v3.Resource`.
    pub fn delta_bytes(&self) -> Bytes {
        match &self.content {
            Content::Whole { delta, .. } => delta.clone(),
            Content::Joined(joined) => joined.delta(&self.name, &self.version),
        }
    }
}

fn fingerprint(name: &str, version: &str) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
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

/// Two resources are equal when a client could not tell them apart.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.content, &other.content) {
            (Content::Whole { delta, .. }, Content::Whole { delta: others, .. }) => delta == others,
            (Content::Joined(own), Content::Joined(other)) if own == other => true,
            _ => self.version == other.version && self.delta_bytes() == other.delta_bytes(),
        };
        same && self.name == other.name && self.by_name_only == other.by_name_only
    }
}

/// A message that is a resource of one type.
pub trait Typed: Message + Name {
    /// The type.
    const TYPE: ResourceType;
}

impl Typed for config::cluster::v3::Cluster {
    const TYPE: ResourceType = ResourceType::Cluster;
}

impl Typed for config::endpoint::v3::ClusterLoadAssignment {
    const TYPE: ResourceType = ResourceType::Endpoint;
}

impl Typed for config::listener::v3::Listener {
    const TYPE: ResourceType = ResourceType::Listener;
}

impl Typed for config::route::v3::RouteConfiguration {
    const TYPE: ResourceType = ResourceType::Route;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_urls_are_those_of_the_messages() {
        fn check<M: Typed>() {
            assert_eq!(M::TYPE.type_url(), M::type_url());
        }
        check::<config::cluster::v3::Cluster>();
        check::<config::endpoint::v3::ClusterLoadAssignment>();
        check::<config::listener::v3::Listener>();
        check::<config::route::v3::RouteConfiguration>();
    }

    #[test]
    fn both_forms_share_one_allocation_and_decode_to_the_message() {
        let cluster = config::cluster::v3::Cluster { name: "a".into(), ..Default::default() };
        let resource = Resource::new("a".into(), &cluster, Vec::new(), false);
        let any = Any::decode(resource.any_bytes()).unwrap();
        assert_eq!(config::cluster::v3::Cluster::decode(any.value.clone()).unwrap(), cluster);
        let delta = discovery::Resource::decode(resource.delta_bytes()).unwrap();
        assert_eq!((delta.name.as_str(), delta.resource), ("a", Some(any)));
        assert_eq!(delta.version, resource.version());
        let (outer, inner) = (resource.delta_bytes(), resource.any_bytes());
        assert!(outer.as_ptr_range().contains(&inner.as_ptr()));
    }
}
