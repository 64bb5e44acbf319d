//! From what registries publish to one catalog.

mod merge;

pub use merge::{Catalog, CatalogService, Part, Source};
