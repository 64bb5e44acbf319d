//! What a translation reads besides the services.

use std::net::SocketAddr;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::Locality;

use crate::mesh::MeshOptions;

/// From nowhere, everything is equally far.
pub(super) const NOWHERE: &Locality =
    &Locality { region: String::new(), zone: String::new(), sub_zone: String::new() };

/// What endpoints look like depends on who sees them.
#[derive(Clone, Copy)]
pub(super) struct Lens<'a> {
    /// Where the viewer's listener to every HTTP service by Host header is, if there is one.
    pub(super) http_listen: Option<SocketAddr>,
    /// Where the viewer runs.
    pub(super) locality: &'a Locality,
    /// Whether a port without healthy endpoints is served by its unhealthy ones.
    pub(super) serves_unhealthy: bool,
}

/// What clusters, listeners and virtual hosts are translated with.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) options: &'a MeshOptions,
    /// Where the client gets the resources that others refer to.
    pub(super) config_source: &'a core::ConfigSource,
    pub(super) lens: Lens<'a>,
}
