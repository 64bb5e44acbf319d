//! From what registries publish to one catalog.
//!
//! ```text
//!  Feed ──► intake: guard, last known good on disk ──┐
//!  Feed ──► intake                                   ├──► merge ──► Catalog
//!  Feed ──► intake                                   ┘
//! ```

mod addresses;
mod conflict;
mod counts;
mod guard;
mod guesses;
mod index;
mod intake;
mod localities;
mod merge;
mod namespaces;
mod places;
pub mod state;
mod workload;

pub use conflict::{Conflict, Field, Opinion};
pub use guard::{Guard, GuardSettings, Held};
pub use intake::{DiskStatus, Intake, Known, Origin, Policy, Standing, StatePolicy};
pub use merge::{Catalog, CatalogService, Part, Source};
pub use workload::Workload;
