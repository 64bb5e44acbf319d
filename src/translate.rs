//! From a mesh to the resources of a scope. Pure: no clock, no IO, ordered maps only.
//!
//! ```text
//!  CatalogService ──► claims: who gets which name, address and listener ──► grants
//!        │                                                                    │
//!        ▼                                                                    ▼
//!  clusters, endpoints                           listeners, virtual hosts, gRPC listeners
//!        └──────────────► Common: a fragment per service, patched into ◄──────┘
//!                         one set per type; routes are put together from encoded virtual hosts
//!                            │
//!                         Local: routes and gRPC listeners with further names, by namespace
//!                            │
//!                         Nearby: other priorities of endpoints, by locality; all else is shared
//! ```
//!
//! What a service gets, by protocol and resolution:
//!
//! | | cluster | endpoints | way in |
//! |---|---|---|---|
//! | http, http2, grpc | EDS | yes | the HTTP listener of its port number, `http_listen`, and by name for gRPC clients (http2, grpc) |
//! | tls, tcp, mongo, redis | EDS | yes | a listener at each virtual address, and at the bind address: without virtual addresses before others |
//! | udp | EDS | yes | a UDP listener at the same places |
//! | resolution `dns` | STRICT_DNS, endpoints inline | no | as above; not for gRPC clients, which do not know STRICT_DNS |
//! | resolution `passthrough` | ORIGINAL_DST | no | none: a bound listener has no original address to pass to |

mod changes;
mod claims;
mod clusters;
mod common;
mod conflict;
mod endpoints;
mod entrances;
mod fallback;
mod fragment;
mod listeners;
mod local;
mod names;
mod nearby;
mod overlay;
mod proximity;
mod routes;
mod sockets;
mod source;
mod translator;

pub(crate) use changes::changes;
pub use conflict::{Claim, Claimant, Conflict, Reason};
pub use translator::{Memo, Translator};

use std::sync::Arc;

use crate::mesh::Mesh;
use crate::proxy::Scope;
use crate::resources::Types;

/// All resources of a scope, and what could not be granted.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The resources.
    pub types: Types,
    /// What services claimed and did not get, in order. Does not depend on who asks, except that only
    /// routers have `http_listen`. As long as a [`Translator`] finds the same, it is one allocation.
    pub conflicts: Arc<[Conflict]>,
}

/// Translates from scratch. [`Translator`] gives the same result again and again for less.
pub fn translate(mesh: &Mesh, scope: &Scope) -> Translation {
    Translator::new(scope.clone()).translate(mesh)
}
