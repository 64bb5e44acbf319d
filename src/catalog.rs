//! From what registries publish to one catalog.
//!
//! ```text
//!  Feed ──► intake: guard, last known good on disk ──┐
//!  Feed ──► intake                                   ├──► merge ──► Catalog
//!  Feed ──► intake                                   ┘
//! ```

mod guard;
mod intake;
mod merge;
pub mod state;

pub use guard::{Guard, GuardSettings, Held};
pub use intake::{DiskStatus, Intake, Known, Origin, Policy, Standing, StatePolicy};
pub use merge::{Catalog, CatalogService, Part, Source};
