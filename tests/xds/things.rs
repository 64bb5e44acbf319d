//! What there is to be served in a test: named resources with a content and references, no real protobuf.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route, VirtualHost as VirtualHosts};
use pilot::resources::{Layer, Origin, PerType, Resource, Rope, TypeSet, View, VirtualHost};
use pilot_envoy_api::envoy::config::route::v3::{self as route, RouteConfiguration};
use pilot_envoy_api::google::protobuf::Any;
use prost::Message;
use tokio::time::Instant;

/// The only message in these tests. All real resources have their name in field 1, too.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Thing {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) content: String,
}

impl Thing {
    /// The content of a route configuration of virtual hosts is `name>cluster`, one after the other.
    pub(crate) fn of(any: &Any) -> Self {
        if any.type_url == VirtualHosts.type_url() {
            let host = route::VirtualHost::decode(any.value.clone()).unwrap();
            let content = format!(">{}", host.response_headers_to_remove.concat());
            return Self { name: host.name, content };
        }
        let rope = RouteConfiguration::decode(any.value.clone()).ok();
        if let Some(rope) = rope.filter(|it| it.virtual_hosts.iter().any(|host| !host.domains.is_empty())) {
            let text = |host: &route::VirtualHost| {
                format!("{}>{}", host.name, host.response_headers_to_remove.concat())
            };
            let hosts: Vec<String> = rope.virtual_hosts.iter().map(text).collect();
            return Self { name: rope.name, content: hosts.join("+") };
        }
        Self::decode(any.value.clone()).unwrap()
    }
}

pub(crate) type References = Vec<(ResourceType, Arc<str>)>;

/// What the server has. Change it, then publish it.
#[derive(Clone, Default)]
pub(crate) struct Things {
    types: PerType<BTreeMap<String, Arc<Resource>>>,
    version: Option<String>,
    last: Option<Arc<View>>,
}

impl Things {
    pub(crate) fn put(&mut self, kind: ResourceType, name: &str, content: &str, references: References) {
        let resource = thing(kind, name, content, references, false);
        self.types[kind].insert(name.to_owned(), resource);
    }

    /// A cluster that needs the endpoints of the same name.
    pub(crate) fn cluster(&mut self, name: &str, content: &str) {
        self.put(Cluster, name, content, vec![(Endpoint, name.into())]);
    }

    /// A cluster that finds its endpoints itself.
    pub(crate) fn dns_cluster(&mut self, name: &str, content: &str) {
        self.put(Cluster, name, content, Vec::new());
    }

    pub(crate) fn endpoints(&mut self, name: &str, content: &str) {
        self.put(Endpoint, name, content, Vec::new());
    }

    /// A cluster with its endpoints.
    pub(crate) fn service(&mut self, name: &str, content: &str) {
        self.cluster(name, content);
        self.endpoints(name, content);
    }

    pub(crate) fn listener(&mut self, name: &str, content: &str, routes: &[&str]) {
        let references = routes.iter().map(|route| (Route, Arc::from(*route)));
        self.put(Listener, name, content, references.collect());
    }

    pub(crate) fn route(&mut self, name: &str, content: &str, clusters: &[&str]) {
        let references = clusters.iter().map(|cluster| (Cluster, Arc::from(*cluster)));
        self.put(Route, name, content, references.collect());
    }

    /// A route configuration of virtual hosts: `name>cluster`. Each has its name as its domain.
    pub(crate) fn rope(&mut self, name: &str, hosts: &[&str]) {
        let resource = Resource::from_rope(name.into(), Self::virtual_hosts(name, hosts), Origin::Shared);
        self.types[Route].insert(name.to_owned(), Arc::new(resource));
    }

    /// The same, which clients take in parts.
    pub(crate) fn parts(&mut self, name: &str, hosts: &[&str]) {
        self.put(Route, name, "parts", vec![(VirtualHosts, name.into())]);
        let resource = Resource::from_rope(name.into(), Self::virtual_hosts(name, hosts), Origin::Shared);
        self.types[VirtualHosts].insert(name.to_owned(), Arc::new(resource));
    }

    fn virtual_hosts(name: &str, hosts: &[&str]) -> Rope {
        let mut rope = Rope::new(&RouteConfiguration { name: name.to_owned(), ..Default::default() });
        for host in hosts {
            let (host, cluster) = host.split_once('>').unwrap();
            let message = route::VirtualHost {
                name: host.to_owned(),
                domains: vec![host.split('/').next_back().unwrap().to_owned()],
                response_headers_to_remove: vec![cluster.to_owned()],
                ..Default::default()
            };
            let cluster = cluster.split('!').next().unwrap();
            rope.insert(Arc::new(VirtualHost::new(&message, vec![cluster.into()], Origin::Shared)));
        }
        rope
    }

    /// A resource that is not part of the wildcard.
    pub(crate) fn by_name_only(&mut self, kind: ResourceType, name: &str, content: &str) {
        let resource = thing(kind, name, content, Vec::new(), true);
        self.types[kind].insert(name.to_owned(), resource);
    }

    pub(crate) fn remove(&mut self, kind: ResourceType, name: &str) {
        self.types[kind].remove(name);
    }

    pub(crate) fn remove_service(&mut self, name: &str) {
        self.remove(Cluster, name);
        self.remove(Endpoint, name);
    }

    /// From now on the sets have that version instead of a hash.
    pub(crate) fn version(&mut self, version: &str) {
        self.version = Some(version.to_owned());
    }

    pub(crate) fn of(&self, kind: ResourceType) -> &BTreeMap<String, Arc<Resource>> {
        &self.types[kind]
    }

    /// All that there is now; the set that was published before, if it is the same.
    pub(crate) fn publish(&mut self) -> Arc<View> {
        let sets = PerType::of(|kind| {
            let resources = self.types[kind].values().cloned();
            match &self.version {
                Some(version) => TypeSet::with_version(resources, version.clone()),
                None => TypeSet::new(resources),
            }
        });
        let generation = self.last.as_ref().map_or(1, |last| last.generation() + 1);
        let next = Arc::new(View::new([], Arc::new(Layer::of(generation, Instant::now(), sets))));
        match &self.last {
            Some(last) if next.changes_since(last).is_empty() => Arc::clone(last),
            _ => Arc::clone(self.last.insert(next)),
        }
    }
}

fn thing(
    kind: ResourceType,
    name: &str,
    content: &str,
    references: References,
    by_name_only: bool,
) -> Arc<Resource> {
    let value = Thing { name: name.to_owned(), content: content.to_owned() }.encode_to_vec().into();
    let any = Any { type_url: kind.type_url().to_owned(), value };
    let thing = Resource::from_any(name.into(), content.to_owned(), any, references, Origin::Shared);
    Arc::new(if by_name_only { thing.by_name_only() } else { thing })
}

/// A listener that routes to two services with their endpoints.
pub(crate) fn two_services() -> Things {
    let mut things = Things::default();
    things.service("a", "1");
    things.service("b", "1");
    things.listener("l", "1", &["r"]);
    things.route("r", "1", &["a", "b"]);
    things
}
