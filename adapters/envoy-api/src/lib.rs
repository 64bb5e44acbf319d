//! Envoy's xDS API (v3) as Rust types: the part that pilot speaks, compiled at build time.
//!
//! Differences from other generated bindings, and why:
//! - maps are `BTreeMap`s, so the same message always has the same bytes (versions are content hashes);
//! - every message implements [`prost::Name`], so an `Any` gets its type URL from its type ([`to_any`]);
//! - discovery responses hold resources as encoded [`bytes::Bytes`] that all streams share
//!   ([`discovery`]).

pub mod discovery;

/// The generated modules, in the protobuf packages' own hierarchy.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/envoy_api.rs"));
}

pub use generated::*;

/// The encoded `FileDescriptorSet` of all messages here, for server reflection and proto3 JSON.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Packs a message into a `google.protobuf.Any`, under its own type URL.
pub fn to_any<M: prost::Message + prost::Name>(message: &M) -> google::protobuf::Any {
    google::protobuf::Any { type_url: M::type_url(), value: message.encode_to_vec().into() }
}
