//! What a translation reads besides the services.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pilot_envoy_api::envoy::config::core::v3 as core;

use super::nearness::Nearness;
use super::place::Place;
use super::rules::Viewer;
use crate::mesh::{Mesh, MeshOptions};

/// What endpoints look like depends on who sees them.
#[derive(Clone, Copy)]
pub(super) struct Lens<'a> {
    /// Where the viewer's listener to every HTTP service by Host header is, if there is one.
    pub(super) http_listen: Option<SocketAddr>,
    /// Where the viewer is.
    pub(super) place: Place<'a>,
    /// What that means for the endpoints.
    pub(super) nearness: Nearness<'a>,
    /// Whether a port without healthy endpoints is served by its unhealthy ones.
    pub(super) serves_unhealthy: bool,
    /// The labels that endpoints have to have; `None` = any.
    pub(super) labels: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Lens<'a> {
    /// Of viewers at a place, where no rule says anything.
    pub(super) fn new(http_listen: Option<SocketAddr>, place: Place<'a>, options: &MeshOptions) -> Self {
        let (serves_unhealthy, nearness) =
            (options.serves_unhealthy, Nearness::of(None, options.prefer_near));
        Self { http_listen, place, nearness, serves_unhealthy, labels: None }
    }

    /// The same endpoints, seen from nowhere.
    pub(super) fn at_nowhere(self) -> Self {
        Self { place: Place::NOWHERE, ..self }
    }
}

/// What clusters, listeners and virtual hosts are translated with.
#[derive(Clone, Copy)]
pub(super) struct TranslationContext<'a> {
    pub(super) options: &'a MeshOptions,
    /// Where rules and the services are that they name.
    pub(super) mesh: &'a Mesh,
    /// To whom rules are told.
    pub(super) viewer: Viewer<'a>,
    /// Where the client gets the resources that others refer to.
    pub(super) config_source: &'a core::ConfigSource,
    pub(super) lens: Lens<'a>,
    /// Whether the clients are gRPC's own, which know less than an Envoy.
    pub(super) is_grpc: bool,
    /// Whether they have the listeners of Gateways, and no others.
    pub(super) is_at_edge: bool,
}
