//! From a mesh to layers of resources. Pure: no clock, no IO, ordered maps only.
//!
//! ```text
//!  Mesh, layers before ──► Layers::jobs ──► Job::run ──► Layers::commit ──► View of a scope
//!                                             │
//!                            Endpoints        │ assignments.rs   endpoints by name
//!                            Base             │ base.rs          clusters, listeners, routes
//!                            Place            │ assignments.rs   endpoints nearer or farther
//!                            Parts            │ parts.rs         routes in parts, of the base and of an audience
//!                            Audience         │ audience.rs      what a namespace sees otherwise
//!                            Scoped           │ scoped.rs        endpoints that only a namespace sees
//!                            Gateways         ▼ gateways.rs      listeners and routes at the edge
//! ```
//!
//! A layer is a function of the layer before and of what changed in the mesh. Nothing is changed in place: whoever
//! holds a layer, or a copy of all of them, keeps it as it is, and a translation that fails leaves no trace.
//!
//! What a service gets, by protocol and resolution:
//!
//! | | cluster | endpoints | way in |
//! |---|---|---|---|
//! | http, http2, grpc | EDS | yes | the HTTP listener of its port number, `http_listen`, and by name for gRPC clients (http2, grpc) |
//! | tcp, mongo, redis | EDS | yes | a listener at each virtual address, and at the bind address: without virtual addresses before others |
//! | tls | EDS | yes | the same listeners, shared with other tls services by SNI |
//! | udp | EDS | yes | a UDP listener at the same places |
//! | resolution `dns` | resolved by the proxy, endpoints inline | no | as above; not for gRPC clients, which do not know that kind |
//! | resolution `passthrough` | ORIGINAL_DST | no | none: a bound listener has no original address to pass to |

mod access_log;
mod assignments;
mod audience;
mod base;
mod claims;
mod clusters;
mod conflict;
mod connections;
mod context;
mod defaults;
mod edge;
mod endpoints;
mod entrances;
mod fallback;
mod gateways;
mod health_checks;
mod job;
mod key;
mod layers;
mod listeners;
mod names;
mod nearness;
mod overlay;
mod parts;
mod place;
mod proximity;
mod reachable;
mod routes;
pub mod rules;
mod scoped;
mod shared_tls;
mod sight;
mod sockets;
mod source;
mod step;
mod upstream;

pub use conflict::{Claim, Claimant, Conflict, Reason};
#[cfg(test)]
pub(crate) use job::Maker;
pub use job::{Built, Job, JobResult, Made, Results};
pub use key::LayerKey;
pub use layers::{Arrived, Layers, Wave};
pub use step::Step;

use std::sync::Arc;

use crate::mesh::Mesh;
use crate::proxy::Scope;
use crate::resources::{PublishedAt, View};

/// All resources of a scope, and what could not be granted.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The resources.
    pub view: Arc<View>,
    /// What services claimed and did not get, in order. Does not depend on who asks, except that only
    /// routers have `http_listen`. As long as it is the same, it is one allocation.
    pub conflicts: Arc<[Conflict]>,
}

/// Translates a mesh from nothing. `published`: when the mesh was.
pub fn translate(mesh: &Mesh, scope: &Scope, published: PublishedAt) -> Translation {
    let mut layers = Layers::default();
    layers.follow(scope);
    layers.advance(Arc::new(mesh.clone()), published);
    let view = layers.view(scope).expect("layers that are followed are made");
    Translation { view: Arc::new(view), conflicts: layers.conflicts(scope) }
}
