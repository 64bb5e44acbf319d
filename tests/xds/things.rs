//! What there is to be served in a test: named resources with a content and references, no real protobuf.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::resources::{Layer, Origin, PerType, Resource, TypeSet, View};
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
    pub(crate) fn of(any: &Any) -> Self {
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
