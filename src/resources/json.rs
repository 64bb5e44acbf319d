//! Resources in Envoy's own JSON, field names as in its YAML.

use std::sync::LazyLock;

use pilot_envoy_api::FILE_DESCRIPTOR_SET;
use pilot_envoy_api::envoy::service::discovery::v3 as discovery;
use pilot_envoy_api::google::protobuf::Any;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use super::{Resource, VirtualHost};

/// A resource could not be shown as JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not what their type URL says.
    #[error("decoding {type_url}")]
    Decode {
        /// The type.
        type_url: String,
        /// Where it broke.
        #[source]
        source: prost::DecodeError,
    },
    /// The type is not one that pilot knows.
    #[error("unknown type {type_url:?}")]
    UnknownType {
        /// The type.
        type_url: String,
    },
    /// The message holds something that has no JSON form.
    #[error("writing {type_url} as JSON")]
    Serialize {
        /// The type.
        type_url: String,
        /// What has no JSON form.
        #[source]
        source: serde_json::Error,
    },
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // The bytes are made by this build; a test reads them.
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build's own descriptors are whole")
});

/// The resource in Envoy's JSON.
///
/// # Errors
/// The resource's bytes are not a message of its type, or it holds an `Any` of a type that pilot does not
/// know.
pub fn to_json(resource: &Resource) -> Result<serde_json::Value, JsonError> {
    let decoded = Any::decode(resource.any_bytes());
    let any =
        decoded.map_err(|source| JsonError::Decode { type_url: "google.protobuf.Any".into(), source })?;
    any_to_json(&any)
}

/// A virtual host as a resource of its own, in Envoy's JSON. `routes`: the route configuration that it is in.
///
/// # Errors
/// As [`to_json`].
pub fn part_to_json(host: &VirtualHost, routes: &str) -> Result<serde_json::Value, JsonError> {
    let decoded = discovery::Resource::decode(host.part(routes));
    let type_url = "envoy.service.discovery.v3.Resource".to_owned();
    let part = decoded.map_err(|source| JsonError::Decode { type_url, source })?;
    any_to_json(&part.resource.unwrap_or_default())
}

/// A packed message in Envoy's JSON, without `@type` at the top.
///
/// # Errors
/// As [`to_json`].
pub fn any_to_json(any: &Any) -> Result<serde_json::Value, JsonError> {
    let type_url = || any.type_url.clone();
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let descriptor =
        POOL.get_message_by_name(name).ok_or_else(|| JsonError::UnknownType { type_url: type_url() })?;
    let message = DynamicMessage::decode(descriptor, any.value.clone())
        .map_err(|source| JsonError::Decode { type_url: type_url(), source })?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|source| JsonError::Serialize { type_url: type_url(), source })
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;
    use pilot_envoy_api::envoy::config::cluster::v3::Cluster;

    #[test]
    fn field_names_are_envoys() {
        let cluster = Cluster { name: "a".into(), alt_stat_name: "b".into(), ..Default::default() };
        let resource = Resource::new("a".into(), &cluster, Vec::new(), Origin::Shared);
        let expected = serde_json::json!({ "name": "a", "alt_stat_name": "b" });
        assert_eq!(to_json(&resource).unwrap(), expected);
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let any = Any { type_url: "type.googleapis.com/x.Y".into(), value: vec![1].into() };
        assert!(matches!(any_to_json(&any), Err(JsonError::UnknownType { .. })));
        let any = Any {
            type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".into(),
            value: vec![0xff].into(),
        };
        assert!(matches!(any_to_json(&any), Err(JsonError::Decode { .. })));
    }
}
