//! What the harness says there is: resources without content, and versions as it names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pilot::proxy::Scope;
use pilot::resources::{Resource, ResourceSet, ResourceType, TypeSet, Types};
use pilot::world::TooManyScopes;
use pilot::xds::stream::{ResourceSource, Resources};
use pilot_envoy_api::google::protobuf::Any;
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;

/// All four resource types name their name in field 1.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Named {
    /// The resource's name.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// The resources of the one node that the harness plays.
#[derive(Clone)]
pub(crate) struct State(Arc<Mutex<Inner>>);

struct Inner {
    types: [OneType; 4],
    /// How often the harness said something: every change makes content that was never there before,
    /// because the harness uses versions twice.
    changes: u64,
    published: watch::Sender<Option<Arc<ResourceSet>>>,
}

#[derive(Default)]
struct OneType {
    version: String,
    resources: BTreeMap<String, Arc<Resource>>,
}

impl Default for State {
    fn default() -> Self {
        let published = watch::Sender::new(None);
        Self(Arc::new(Mutex::new(Inner { types: Default::default(), changes: 0, published })))
    }
}

impl State {
    /// Replaces everything.
    pub(crate) fn set(&self, version: &str, resources: impl IntoIterator<Item = (ResourceType, String)>) {
        self.change(|state| {
            for one in &mut state.types {
                *one = OneType { version: version.to_owned(), resources: BTreeMap::new() };
            }
            for (kind, name) in resources {
                let resource = state.resource(kind, &name);
                state.types[kind as usize].resources.insert(name, resource);
            }
        });
    }

    /// Adds a resource, or gives it new content.
    pub(crate) fn put(&self, kind: ResourceType, name: &str, version: &str) {
        self.change(|state| {
            let resource = state.resource(kind, name);
            let one = &mut state.types[kind as usize];
            one.resources.insert(name.to_owned(), resource);
            version.clone_into(&mut one.version);
        });
    }

    /// Removes a resource.
    pub(crate) fn remove(&self, kind: ResourceType, name: &str, version: &str) {
        self.change(|state| {
            let one = &mut state.types[kind as usize];
            one.resources.remove(name);
            version.clone_into(&mut one.version);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut state = self.0.lock();
        state.changes += 1;
        change(&mut state);
        let types: Types = ResourceType::ALL.map(|kind| {
            let one = &state.types[kind as usize];
            Arc::new(TypeSet::with_version(one.resources.values().cloned(), one.version.clone()))
        });
        let before = state.published.borrow().clone();
        let next = match before {
            None => Some(ResourceSet::first(types, Instant::now())),
            Some(before) => before.successor(types, Instant::now()),
        };
        if let Some(next) = next {
            state.published.send_replace(Some(Arc::new(next)));
        }
    }
}

impl Inner {
    fn resource(&self, kind: ResourceType, name: &str) -> Arc<Resource> {
        let value = Named { name: name.to_owned() }.encode_to_vec().into();
        let any = Any { type_url: kind.type_url().to_owned(), value };
        let version = self.changes.to_string();
        Arc::new(Resource::from_any(name.into(), version, any, Vec::new(), false))
    }
}

impl ResourceSource for State {
    fn subscribe(&self, _scope: &Scope) -> Result<Resources, TooManyScopes> {
        Ok(self.0.lock().published.subscribe())
    }
}
