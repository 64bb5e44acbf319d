//! Discovery responses whose resources are shared bytes.
//!
//! On the wire a `repeated Any` and a `repeated bytes` are the same thing: length-delimited fields. So a
//! response can be put together out of resources that were encoded once, and a clone of one costs a
//! reference count. Field numbers are those of `envoy/service/discovery/v3/discovery.proto`.

use bytes::Bytes;

/// `envoy.service.discovery.v3.DiscoveryResponse`, as pilot writes it (state of the world).
#[derive(Clone, PartialEq, prost::Message)]
pub struct DiscoveryResponse {
    /// The version of the set that this response brings the client to.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Encoded `google.protobuf.Any` messages.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub resources: Vec<Bytes>,
    /// The type of all resources in this response.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Names this response in the client's acknowledgement.
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`, as pilot writes it (incremental).
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// For people who debug; the protocol itself does not use it.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// Encoded `envoy.service.discovery.v3.Resource` messages.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub resources: Vec<Bytes>,
    /// The type of all resources in this response.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Names this response in the client's acknowledgement.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names of resources that do not exist (any more).
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}

impl prost::Name for DiscoveryResponse {
    const NAME: &'static str = "DiscoveryResponse";
    const PACKAGE: &'static str = "envoy.service.discovery.v3";
}

impl prost::Name for DeltaDiscoveryResponse {
    const NAME: &'static str = "DeltaDiscoveryResponse";
    const PACKAGE: &'static str = "envoy.service.discovery.v3";
}
