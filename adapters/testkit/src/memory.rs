//! A platform in memory, a correct adapter for it, and the [`Backend`](crate::Backend) of both.
//!
//! It has what the real ones have: paged lists, a watch from a revision on, a history that can be
//! compacted, connections that break, credentials. The suite is tested on it, and an adapter's author can
//! read the adapter as an example.
//!
//! ```text
//!  MemoryBackend ──► MemoryPlatform ◄── Connection (list, changes) ◄── MemoryRegistry
//! ```

mod backend;
mod platform;
mod registry;

pub use backend::MemoryBackend;
pub use platform::{Connection, Entry, Listing, MemoryPlatform, Update};
pub use registry::MemoryRegistry;
