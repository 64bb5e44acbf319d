//! From what registries publish to one catalog.

mod conflict;
mod localities;
mod merge;

pub use conflict::{Conflict, Field, Opinion};
pub use merge::{Catalog, CatalogService, Part, Source};
