//! What kind of client a proxy is: what it understands.

use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType as Version;

/// The oldest version of Envoy that takes virtual hosts one by one on an aggregated stream, and goes on after it has
/// refused something.
const VHDS_ENVOY: (u32, u32) = (1, 40);

/// What a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKind {
    /// An Envoy that takes route configurations in parts: virtual hosts one by one (VHDS).
    EnvoyWithVhds,
    /// Any other Envoy, and clients that do not say what they are.
    Envoy,
    /// A program that has gRPC's own client of xDS in it.
    Grpc,
}

impl ClientKind {
    /// The kind of a client whose node this is, as far as it depends on the client alone.
    pub(super) fn of(node: &Node) -> Self {
        let version = match &node.user_agent_version_type {
            Some(Version::UserAgentBuildVersion(build)) => build.version.as_ref(),
            _ => None,
        };
        let is_new = version.is_some_and(|it| (it.major_number, it.minor_number) >= VHDS_ENVOY);
        match node.user_agent_name.as_str() {
            "envoy" if is_new => Self::EnvoyWithVhds,
            // `gRPC Go`, `gRPC C-core`, `grpc-java`, …
            name if name.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("grpc")) => Self::Grpc,
            _ => Self::Envoy,
        }
    }

    /// The same client, where it does not take routes in parts.
    #[must_use]
    pub fn whole(self) -> Self {
        match self {
            Self::EnvoyWithVhds | Self::Envoy => Self::Envoy,
            Self::Grpc => Self::Grpc,
        }
    }

    /// Whether it takes route configurations in parts.
    pub fn has_vhds(self) -> bool {
        self == Self::EnvoyWithVhds
    }
}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::envoy::config::core::v3::BuildVersion;
    use pilot_envoy_api::envoy::r#type::v3::SemanticVersion;

    use super::*;

    fn kind(name: &str, version: Option<(u32, u32)>) -> ClientKind {
        let version = version.map(|(major_number, minor_number)| {
            let version = Some(SemanticVersion { major_number, minor_number, patch: 0 });
            Version::UserAgentBuildVersion(BuildVersion { version, ..Default::default() })
        });
        let user_agent_name = name.to_owned();
        ClientKind::of(&Node { user_agent_name, user_agent_version_type: version, ..Default::default() })
    }

    #[test]
    fn only_an_envoy_that_says_a_version_that_can_takes_routes_in_parts() {
        for version in [(1, 40), (1, 41), (2, 0)] {
            assert_eq!(kind("envoy", Some(version)), ClientKind::EnvoyWithVhds);
        }
        for version in [Some((1, 39)), Some((0, 50)), None] {
            assert_eq!(kind("envoy", version), ClientKind::Envoy);
        }
        assert_eq!(kind("other", Some((1, 40))), ClientKind::Envoy);
        for name in ["gRPC Go", "grpc-java", "gRPC C-core"] {
            assert_eq!(kind(name, Some((1, 40))), ClientKind::Grpc);
        }
        assert_eq!(kind("", None), ClientKind::Envoy);
    }
}
