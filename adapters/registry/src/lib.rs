//! The model of services, and the trait that a registry adapter implements.
//!
//! # Writing an adapter
//!
//! An adapter turns a platform's knowledge of services into whole [`Snapshot`]s. It implements one
//! method:
//!
//! ```
//! use std::convert::Infallible;
//! use pilot_registry::{RegistryError, ServiceRegistry, Snapshot, SnapshotSink, async_trait};
//!
//! struct Nothing;
//!
//! #[async_trait]
//! impl ServiceRegistry for Nothing {
//!     fn name(&self) -> &'static str {
//!         "nothing"
//!     }
//!
//!     async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
//!         sink.publish(Snapshot::default()); // known to be empty, which is not "not known yet"
//!         std::future::pending().await // nothing ever changes
//!     }
//! }
//! ```
//!
//! The contract, which `pilot-registry-testkit` checks:
//!
//! - **Construction is pure.** `registry(Config) -> Result<impl ServiceRegistry, ConfigError>` validates
//!   and does no IO. The kind's configuration is a serde struct that denies unknown fields.
//! - **[`run`](ServiceRegistry::run) is one attempt.** No retry loop, no `tokio::spawn`: return the error
//!   and you are called again, with back-off. Whatever runs concurrently runs inside your future
//!   (`select!`, `JoinSet`), so that dropping it ends everything. pilot may run it a second time beside the first,
//!   to read everything again; what attempts leave to each other is in a [`Memory`], so neither disturbs the other.
//! - **Publish nothing before you know everything.** The first publish says "this is all of it". A list
//!   that broke off half way is an error, not a shorter list: stale beats empty, and partial is never
//!   published.
//! - **Publish whole values.** [`Service::new`] brings them in canonical order and the sink compares:
//!   unchanged services keep their `Arc`, an unchanged snapshot makes no revision.
//! - **One bad entry hides only itself.** Report it with [`SnapshotSink::skipped`](Sink::skipped) and go
//!   on with the others. What is served and still wants a word (a number that was guessed, a field that does
//!   not count) is a [`note`](Sink::note).
//! - **Trouble that you cure yourself** (a list that is retried in place, a file that does not parse while
//!   its last good content stays) is a [`fault`](Sink::fault): the registry is degraded while you hold it.
//! - **Say facts, decide nothing.** An unhealthy endpoint is published as [`Health::Unhealthy`]; whether it
//!   gets traffic is not an adapter's business.
//! - **Tell of yourself** what helps who looks for a mistake: whom you talk to ([`fact`](Sink::fact)), and how
//!   you follow it ([`following`](Sink::following)). It is shown on request; nothing decides by it.
//! - **Secrets** never appear in `Debug`, errors or logs: [`Secret`] is their type.
//!
//! Where the platform can be written to, the adapter implements [`Registrar`] too, and `pilot register` can
//! register in it. [`keep`](Registrar::keep) is one attempt as well; the caller has the loop.
//!
//! [`channel`] makes a sink by hand, for tests.
// A lock that lives across an await, in whatever it is wrapped, makes a future that cannot be sent.
#![cfg_attr(not(test), deny(clippy::future_not_send))]

mod document;
pub mod duration;
mod endpoint;
mod error;
mod health_check;
mod hostname;
mod memory;
mod namespace;
mod port;
mod registrar;
mod registry;
mod reload;
mod secret;
mod service;
mod sink;
mod snapshot;
mod status;
pub mod usual;
mod visibility;

pub use async_trait::async_trait;

pub use document::{RuleStore, Text, TextSink, Texts};
pub use endpoint::{Address, Endpoint, Health, Labels, Locality, SpiffeId, Weight, ip_address};
pub use error::{ConfigError, ErrorKind, ModelError, RegistryError};
pub use health_check::{HealthCheck, Probe};
pub use hostname::Hostname;
pub use memory::{Lent, Memory};
pub use namespace::Namespace;
pub use port::{Port, Protocol, ServicePort};
pub use registrar::{RegisteredPort, Registrar, Registration};
pub use registry::ServiceRegistry;
pub use reload::Reload;
pub use secret::Secret;
pub use service::{Resolution, Service, ServiceSpec};
pub use sink::{Content, Fault, Feed, Published, RegistryHealth, Sink, State, Trouble, channel};
pub use snapshot::{Snapshot, SnapshotSink};
pub use status::{Following, LastError, Status, WatchState, WatchStatus};
pub use usual::missing_scheme;
pub use visibility::{ServiceId, Visibility};
