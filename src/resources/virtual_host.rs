//! One virtual host, encoded once: as a part of a whole route configuration, and as a resource of its own (VHDS).
//!
//! ```text
//!  whole     RouteConfiguration 80     { …, virtual_hosts: [cart:80, …] }
//!  in parts  RouteConfiguration 80~v   { vhds }      VirtualHost 80~v/cart:80, …
//! ```

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pilot_envoy_api::envoy::config::route::v3 as route;
use prost::encoding::string;
use prost::{Message, Name};

use super::content::content_hash;
use super::origin::Origin;
use super::wire::{begin, field_len, resource};

/// `envoy.config.route.v3.VirtualHost.name`, the field that comes first.
const NAME: u32 = 1;

/// What the name of a route configuration ends with of which clients take the virtual hosts one by one.
const IN_PARTS: &str = "~v";

/// One virtual host, encoded.
#[derive(Debug)]
pub struct VirtualHost {
    name: Arc<str>,
    bytes: Bytes,
    hash: u64,
    domains: Box<[Box<str>]>,
    clusters: Box<[Arc<str>]>,
    origin: Origin,
    /// It leads where nobody knows.
    leads_anywhere: bool,
    /// As a resource of its own, once somebody was sent it, and the name of the route configuration it is then in.
    part: OnceLock<(Box<str>, Bytes)>,
}

impl VirtualHost {
    /// Encodes a virtual host. `clusters` are those that its routes name.
    pub fn new(host: &route::VirtualHost, clusters: Vec<Arc<str>>, origin: Origin) -> Self {
        let bytes = Bytes::from(host.encode_to_vec());
        let domains = host.domains.iter().map(|domain| domain.as_str().into()).collect();
        let hash = content_hash(&bytes, clusters.iter(), &origin);
        let (name, clusters) = (host.name.as_str().into(), clusters.into());
        Self::with(name, bytes, hash, domains, clusters, origin)
    }

    /// What a client has of a virtual host from an earlier stream, in another version than there is.
    pub fn unknown(name: &str, version: &str) -> Self {
        let hash = u64::from_str_radix(version, 16).unwrap_or_default();
        let (name, origin) = (name.into(), Origin::Shared);
        let (bytes, domains, clusters) = Default::default();
        Self { leads_anywhere: true, ..Self::with(name, bytes, hash, domains, clusters, origin) }
    }

    fn with(
        name: Arc<str>,
        bytes: Bytes,
        hash: u64,
        domains: Box<[Box<str>]>,
        clusters: Box<[Arc<str>]>,
        origin: Origin,
    ) -> Self {
        let (leads_anywhere, part) = (false, OnceLock::new());
        Self { name, bytes, hash, domains, clusters, origin, leads_anywhere, part }
    }

    /// The same, of which nobody cares where it leads.
    pub(super) fn abandoned(&self) -> Self {
        let (name, bytes, domains) = (Arc::clone(&self.name), self.bytes.clone(), self.domains.clone());
        Self::with(name, bytes, self.hash, domains, Box::default(), self.origin.clone())
    }

    /// Whether more is known of it than that a client has it.
    pub fn is_known(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Whether it may lead to any cluster, because it is not known.
    pub fn may_lead_anywhere(&self) -> bool {
        self.leads_anywhere
    }

    /// Its name, unique in a route configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The encoded `envoy.config.route.v3.VirtualHost`.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// A hash of the bytes, of where they lead, and of the document that asked for them.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The hash as a version.
    pub fn version(&self) -> Box<str> {
        host_version(self.hash)
    }

    /// The domains that it answers for.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(|domain| &**domain)
    }

    /// The clusters that its routes name.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.clusters.iter()
    }

    /// What it is there for.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// As a resource of its own in a route configuration of that name: an encoded
    /// `envoy.service.discovery.v3.Resource`.
    pub fn part(&self, routes: &str) -> Bytes {
        let (known, part) = self.part.get_or_init(|| (routes.into(), self.encode_part(routes)));
        if **known == *routes { part.clone() } else { self.encode_part(routes) }
    }

    /// Envoy takes away only what has the same name as its resource, so the name is another one here.
    fn encode_part(&self, routes: &str) -> Bytes {
        let name = part_name(routes, &self.name);
        let named = if self.name.is_empty() { 0 } else { field_len(NAME, self.name.len()) };
        let rest = &self.bytes[named.min(self.bytes.len())..];
        let len = string::encoded_len(NAME, &name) + rest.len();
        let part = resource(&name, &self.version(), &route::VirtualHost::type_url(), len, |part| {
            begin(NAME, name.len(), part);
            part.extend_from_slice(name.as_bytes());
            part.extend_from_slice(rest);
        });
        part.into()
    }
}

impl PartialEq for VirtualHost {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

/// Equal for itself, so that `Arc` compares addresses first.
impl Eq for VirtualHost {}

/// The version of a virtual host of that hash.
pub fn host_version(hash: u64) -> Box<str> {
    format!("{hash:016x}").into()
}

/// The name of a route configuration that is taken in parts.
pub fn in_parts(routes: &str) -> String {
    format!("{routes}{IN_PARTS}")
}

/// Whether a route configuration of that name is taken in parts.
pub fn is_in_parts(routes: &str) -> bool {
    routes.ends_with(IN_PARTS)
}

/// The name of a virtual host as a resource of its own. What follows the last slash is the virtual host.
pub fn part_name(routes: &str, host: &str) -> String {
    format!("{routes}/{}", host.replace('/', "~"))
}

/// The route configuration and the virtual host that a name means; `None` = it is no name of a virtual host.
pub fn read_part_name(name: &str) -> Option<(&str, String)> {
    let (routes, host) = name.rsplit_once('/')?;
    Some((routes, host.replace('~', "/")))
}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::envoy::service::discovery::v3 as discovery;

    use super::*;

    #[test]
    fn a_part_is_the_virtual_host_under_the_name_of_its_resource() {
        let (name, domains) = ("cart:80/shop".to_owned(), vec!["cart".to_owned()]);
        let host = route::VirtualHost { name, domains, ..Default::default() };
        let made = VirtualHost::new(&host, Vec::new(), Origin::Shared);
        for routes in ["80~v", "http_listen~v"] {
            let resource = discovery::Resource::decode(made.part(routes)).unwrap();
            assert_eq!(resource.name, format!("{routes}/cart:80~shop"));
            assert_eq!(resource.version, *made.version());
            assert_eq!(read_part_name(&resource.name), Some((routes, "cart:80/shop".to_owned())));
            let any = resource.resource.unwrap();
            assert_eq!(any.type_url, route::VirtualHost::type_url());
            let part = route::VirtualHost::decode(any.value).unwrap();
            assert_eq!(part, route::VirtualHost { name: resource.name, ..host.clone() });
        }
        assert_eq!(made.part("80~v").as_ptr(), made.part("80~v").as_ptr(), "encoded once");
    }
}
