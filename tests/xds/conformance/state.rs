//! What the harness says there is: resources without content, and versions as it names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pilot::proxy::Scope;
use pilot::resources::{Layer, Origin, PerType, Resource, ResourceType, TypeSet, View};
use pilot::world::{TooManyScopes, Views};
use pilot::xds::stream::ResourceSource;
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
    types: PerType<OneType>,
    /// How often the harness said something: every change makes content that was never there before,
    /// because the harness uses versions twice.
    changes: u64,
    published: watch::Sender<Option<Arc<View>>>,
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
            for one in state.types.values_mut() {
                *one = OneType { version: version.to_owned(), resources: BTreeMap::new() };
            }
            for (kind, name) in resources {
                let resource = state.resource(kind, &name);
                state.types[kind].resources.insert(name, resource);
            }
        });
    }

    /// Adds a resource, or gives it new content.
    pub(crate) fn put(&self, kind: ResourceType, name: &str, version: &str) {
        self.change(|state| {
            let resource = state.resource(kind, name);
            let one = &mut state.types[kind];
            one.resources.insert(name.to_owned(), resource);
            version.clone_into(&mut one.version);
        });
    }

    /// Removes a resource.
    pub(crate) fn remove(&self, kind: ResourceType, name: &str, version: &str) {
        self.change(|state| {
            let one = &mut state.types[kind];
            one.resources.remove(name);
            version.clone_into(&mut one.version);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut state = self.0.lock();
        state.changes += 1;
        change(&mut state);
        let sets = PerType::of(|kind| {
            let one = &state.types[kind];
            TypeSet::with_version(one.resources.values().cloned(), one.version.clone())
        });
        let before = state.published.borrow().clone();
        let next = Arc::new(View::new([], Arc::new(Layer::of(state.changes, Instant::now(), sets))));
        if before.is_none_or(|before| !next.changes_since(&before).is_empty()) {
            state.published.send_replace(Some(next));
        }
    }
}

impl Inner {
    fn resource(&self, kind: ResourceType, name: &str) -> Arc<Resource> {
        let value = Named { name: name.to_owned() }.encode_to_vec().into();
        let any = Any { type_url: kind.type_url().to_owned(), value };
        let version = self.changes.to_string();
        Arc::new(Resource::from_any(name.into(), version, any, Vec::new(), Origin::Shared))
    }
}

impl ResourceSource for State {
    fn subscribe(&self, _scope: &Scope) -> Result<Views, TooManyScopes> {
        Ok(Views::of(self.0.lock().published.subscribe()))
    }
}
