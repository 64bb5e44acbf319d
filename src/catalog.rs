//! From what registries publish to one catalog.
//!
//! ```text
//!  Feed ──► intake: guard, last known good on disk ──┐
//!  Feed ──► intake                                   ├──► merge ──► Catalog
//!  Feed ──► intake                                   ┘
//! ```

mod addresses;
mod changes;
mod counts;
mod disagreement;
mod guard;
mod guesses;
mod index;
mod intake;
mod localities;
mod lookup;
mod merge;
mod moved;
mod names;
mod namespaces;
mod part;
pub mod saved;
mod service;
mod visible;
mod workload;

pub(crate) use changes::{ServiceChange, changes};
pub use disagreement::{Disagreement, Field, Opinion};
pub use guard::{Guard, GuardSettings, Held};
pub use intake::{DiskStatus, Freshness, Intake, Known, Policy, RegistryState, SavePolicy};
pub use lookup::Catalog;
pub use part::{Part, Source, SourceDocuments};
pub use service::{CatalogService, Guess};
pub(crate) use visible::visible;
pub use workload::{Facts, Workload};
