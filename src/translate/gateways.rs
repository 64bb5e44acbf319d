//! The layer of proxies at the edge: listeners and routes of the Gateways that select them.
//!
//! ```text
//!  rules/gateways/plan.rs   listeners, and the servers of each
//!                └─► listeners.rs   HTTP: one chain; TLS: a chain for each server, by SNI
//!                └─► routes.rs      ropes of virtual hosts: one for HTTP, one for each server of HTTPS
//! ```
//!
//! It is a function of the Gateways, of the documents that are bound to them, and of the services to which these lead. It is
//! made anew only where a step touches one of these; a virtual host, only where one of its documents is touched.

mod listeners;
mod routes;
mod tls;

use std::sync::Arc;

use imbl::OrdMap;
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::Namespace;

use self::routes::Hosted;
use super::rules::gateways::{Family, Listening, Place, Plan};
use super::rules::{ANYBODY, TouchedGateways, Viewer};
use super::source;
use super::step::Step;
use crate::mesh::Mesh;
use crate::proxy::{ConfigSource, Viewpoint};
use crate::resources::{Layer, Patch, PerType, Resource, ResourceType};

/// Listeners and routes, and what they were made from.
#[derive(Clone, Debug)]
pub struct Gateways {
    /// By their route configuration and host.
    hosts: Hosts,
    layer: Arc<Layer>,
}

type Hosts = OrdMap<(Arc<str>, Arc<str>), Arc<Hosted>>;

/// What Gateways are translated with.
struct GatewayTranslation<'a> {
    mesh: &'a Mesh,
    viewer: Viewer<'a>,
    config_source: core::ConfigSource,
    /// Where secrets come from; `None` = there are none.
    secrets: Option<core::ConfigSource>,
    /// What was there, as far as it may be the same.
    before: Option<(&'a Gateways, &'a TouchedGateways)>,
    hosts: Hosts,
    made: Vec<(ResourceType, Resource)>,
}

impl Gateways {
    /// Follows a step. `before`: what was there; `None` = nothing.
    pub(super) fn next(
        before: Option<&Self>,
        viewpoint: &Viewpoint,
        source: &ConfigSource,
        step: &Step,
    ) -> Self {
        let before = before.filter(|_| step.continues());
        let namespace = viewpoint.namespace.as_ref().map_or(ANYBODY.namespace, Namespace::as_str);
        let viewer = Viewer { namespace, labels: &viewpoint.labels };
        let mut translation = GatewayTranslation {
            mesh: &step.mesh,
            viewer,
            config_source: source::config_source(source),
            secrets: source::secrets(source),
            before: before.map(|before| (before, step.touched_gateways())),
            hosts: OrdMap::new(),
            made: Vec::new(),
        };
        for (place, listening) in &Plan::of(&step.mesh.rules, viewer).listeners {
            translation.listen(place, listening);
        }
        let GatewayTranslation { hosts, made, .. } = translation;
        let none = || Arc::new(Layer::empty(step.generation, step.changed));
        let layer = before.map_or_else(none, |before| Arc::clone(&before.layer));
        Self { hosts, layer: changed(layer, made, step) }
    }

    /// Its resources.
    pub(super) fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }
}

impl GatewayTranslation<'_> {
    /// Makes a listener, and its routes.
    fn listen(&mut self, place: &Place, listening: &Listening<'_>) {
        let listener = match listening.family {
            Family::Http => {
                let routes = routes::name_of_http(place);
                self.http_routes(&routes, listening);
                Some(self.http_listener(place, &routes, listening))
            }
            Family::Tls => {
                for server in listening.servers.iter().filter(|it| it.server.routes_http()) {
                    self.https_routes(server, listening);
                }
                self.tls_listener(place, listening)
            }
            Family::Tcp => self.tcp_listener(place, listening),
        };
        self.made.extend(listener.map(|listener| (ResourceType::Listener, listener)));
    }
}

/// The layer that has these resources. What is the same stays.
fn changed(layer: Arc<Layer>, made: Vec<(ResourceType, Resource)>, step: &Step) -> Arc<Layer> {
    let mut patches: PerType<Patch> = PerType::default();
    for (kind, before) in layer.sets.iter() {
        patches[kind] = before.iter().map(|gone| (Arc::clone(gone.name()), None)).collect();
    }
    for (kind, resource) in made {
        let known = layer.sets[kind].get(resource.name()).filter(|known| ***known == resource).cloned();
        let resource = known.unwrap_or_else(|| Arc::new(resource));
        patches[kind].insert(Arc::clone(resource.name()), Some(resource));
    }
    let mut sets = layer.sets.clone();
    let is_other = patches.iter().fold(false, |changed, (kind, patch)| sets[kind].apply(patch) | changed);
    if is_other { Arc::new(Layer::of(step.generation, step.changed, sets)) } else { layer }
}
