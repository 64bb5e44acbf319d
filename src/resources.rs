//! Encoded resources: each is encoded once and shared by all streams that send it.
//!
//! ```text
//!  translate ──► Resource ──► TypeSet ×5 ──► Layer ─┐
//!                   └ Rope: virtual hosts    Layer ─┼─► View, of one proxy and all that see the same layers
//!                                            Layer ─┘     │ what changed since an earlier view
//!                                                         ▼
//!                                                       xds streams
//! ```
//!
//! A version is a hash of content: the same content has the same version after a restart and on every
//! replica.

mod content;
mod integrity;
mod json;
mod kind;
mod layer;
mod origin;
mod resource;
mod rope;
mod secret;
mod set;
mod view;
mod virtual_host;
mod wire;

pub use integrity::{Dangling, dangling};
pub use json::{JsonError, any_to_json, part_to_json, to_json};
pub use kind::{PerType, ResourceType};
pub use layer::{Layer, PublishedAt};
pub use origin::Origin;
pub use resource::Resource;
pub use rope::{HostChange, Rope};
pub use secret::{BETWEEN_FILES, authorities_secret, certificate_secret, secret, secret_type_url};
pub use set::{Patch, TypeSet};
pub use view::{Changes, ResourceChange, TypeView, View};
pub use virtual_host::{VirtualHost, host_version, in_parts, is_in_parts, part_name, read_part_name};
