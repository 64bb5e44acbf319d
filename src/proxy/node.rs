//! Reads what a client says of itself in its first request: `node`.
//!
//! A node id has Istio's form `role~ip~name~domain`. An id in another form is a router that is named by
//! the whole id, so that a stock Envoy sample works.
//!
//! Its namespace is `node.metadata.NAMESPACE`, as Istio's proxies say it, or else the first label of the domain
//! in its id: `shop` of `sidecar~10.0.0.1~cart~shop.svc.cluster.local`. A domain of one label names none.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::google::protobuf::value::Kind;
use pilot_registry::{Labels, Locality, Namespace};

use super::{ClientKind, DEFAULT_XDS_CLUSTER, Proxy, Role};

/// How long the parts of a node may be, in bytes: each stream keeps them.
const MAX_NODE_ID: usize = 1024;
const MAX_NODE_CLUSTER: usize = 1024;
const MAX_XDS_CLUSTER: usize = 256;
const MAX_USER_AGENT: usize = 1024;
const MAX_LOCALITY_PART: usize = 256;
const MAX_NAMESPACE: usize = 253;
const MAX_LABELS: usize = 16_384;

/// A node that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// There is none.
    #[error("the first request of a stream has no node: expected node.id")]
    Missing,
    /// It has no id.
    #[error("node.id is empty: expected an id, for example \"router~127.0.0.1~laptop~mesh\"")]
    NoId,
    /// A part of it is too long to be kept and shown.
    #[error("{part} has {bytes} bytes: expected at most {max}")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// It says a namespace that is none.
    #[error("node.metadata.NAMESPACE is {found}: expected a text of letters, digits, '-', '_' and '.'")]
    Namespace {
        /// What it says.
        found: String,
    },
}

/// The node with an id. gRPC clients may have none in their bootstrap: then it is where their connection comes
/// from, `10.0.0.7:41234`, so that each client is one.
pub fn named(node: &Node, peer: Option<SocketAddr>) -> Cow<'_, Node> {
    if !node.id.is_empty() {
        return Cow::Borrowed(node);
    }
    let id = peer.map_or_else(|| "unnamed".to_owned(), |peer| peer.to_string());
    Cow::Owned(Node { id, ..node.clone() })
}

impl Proxy {
    /// Reads the node of a stream's first request.
    ///
    /// # Errors
    /// There is no node, it has no id, its namespace is none, or a part of it is too long.
    pub fn from_node(node: Option<&Node>) -> Result<Self, NodeError> {
        let node = node.ok_or(NodeError::Missing)?;
        if node.id.is_empty() {
            return Err(NodeError::NoId);
        }
        let said_cluster = metadata(node, "XDS_CLUSTER");
        let xds_cluster = said_cluster.unwrap_or(DEFAULT_XDS_CLUSTER);
        fits("node.id", &node.id, MAX_NODE_ID)?;
        fits("node.cluster", &node.cluster, MAX_NODE_CLUSTER)?;
        fits("node.metadata.XDS_CLUSTER", xds_cluster, MAX_XDS_CLUSTER)?;
        let locality = locality(node)?;
        let parts: Vec<&str> = node.id.split('~').collect();
        let istios = match parts.as_slice() {
            [role, ip, _name, domain] => Role::from_word(role).map(|role| (role, *ip, *domain)),
            _ => None,
        };
        let namespace = match said_namespace(node)? {
            Some(said) => Some(said),
            None => istios.and_then(|(.., domain)| namespace_of(domain)),
        };
        Ok(Self {
            id: node.id.as_str().into(),
            cluster: node.cluster.as_str().into(),
            role: istios.map_or(Role::Router, |(role, ..)| role),
            address: istios.and_then(|(_, ip, _)| address(ip)),
            user_agent: user_agent(node).into(),
            client: ClientKind::of(node),
            locality,
            namespace,
            labels: said_labels(node)?,
            xds_cluster: xds_cluster.into(),
            says_xds_cluster: said_cluster.is_some(),
        })
    }
}

/// The address that tells one workload from others. IPv4 within IPv6 is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok()?.to_canonical();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn locality(node: &Node) -> Result<Locality, NodeError> {
    let Some(locality) = &node.locality else { return Ok(Locality::default()) };
    fits("node.locality.region", &locality.region, MAX_LOCALITY_PART)?;
    fits("node.locality.zone", &locality.zone, MAX_LOCALITY_PART)?;
    fits("node.locality.sub_zone", &locality.sub_zone, MAX_LOCALITY_PART)?;
    let [region, zone, sub_zone] = [&locality.region, &locality.zone, &locality.sub_zone].map(String::clone);
    Ok(Locality { region, zone, sub_zone })
}

/// What the node says itself: a mistake in it is not guessed around.
fn said_namespace(node: &Node) -> Result<Option<Namespace>, NodeError> {
    let value = node.metadata.as_ref().and_then(|metadata| metadata.fields.get("NAMESPACE"));
    match value.and_then(|value| value.kind.as_ref()) {
        None | Some(Kind::NullValue(_)) => Ok(None),
        Some(Kind::StringValue(text)) if text.is_empty() => Ok(None),
        Some(Kind::StringValue(text)) => {
            fits("node.metadata.NAMESPACE", text, MAX_NAMESPACE)?;
            let refused = |_| NodeError::Namespace { found: format!("{text:?}") };
            Namespace::try_from(text.clone()).map(Some).map_err(refused)
        }
        Some(_) => Err(NodeError::Namespace { found: "no text".to_owned() }),
    }
}

/// The labels that the node says, as Istio's proxies do. What is no text is no label.
fn said_labels(node: &Node) -> Result<Labels, NodeError> {
    let value = node.metadata.as_ref().and_then(|metadata| metadata.fields.get("LABELS"));
    let Some(Kind::StructValue(said)) = value.and_then(|value| value.kind.as_ref()) else {
        return Ok(Labels::new());
    };
    let labels = said.fields.iter().filter_map(|(key, value)| match &value.kind {
        Some(Kind::StringValue(value)) => Some((key.clone(), value.clone())),
        _ => None,
    });
    let labels: Labels = labels.collect();
    let bytes = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_LABELS {
        return Err(NodeError::TooLong { part: "node.metadata.LABELS", bytes, max: MAX_LABELS });
    }
    Ok(labels)
}

/// The namespace that a domain of a node id begins with, if it is more than the name of a mesh.
fn namespace_of(domain: &str) -> Option<Namespace> {
    let (first, _) = domain.split_once('.')?;
    Namespace::try_from(first.to_owned()).ok()
}

fn fits(part: &'static str, text: &str, max: usize) -> Result<(), NodeError> {
    let bytes = text.len();
    if bytes > max { Err(NodeError::TooLong { part, bytes, max }) } else { Ok(()) }
}

fn metadata<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match node.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn user_agent(node: &Node) -> String {
    use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType as Version;
    let version = match &node.user_agent_version_type {
        Some(Version::UserAgentVersion(version)) => version.clone(),
        Some(Version::UserAgentBuildVersion(build)) => match &build.version {
            Some(v) => format!("{}.{}.{}", v.major_number, v.minor_number, v.patch),
            None => String::new(),
        },
        None => String::new(),
    };
    let text = format!("{} {version}", node.user_agent_name);
    // It is only shown: a client is not turned away for it.
    let mut end = text.len().min(MAX_USER_AGENT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilot_envoy_api::google::protobuf::{Struct, Value};

    fn node(id: &str) -> Node {
        Node { id: id.into(), ..Default::default() }
    }

    #[test]
    fn roles_are_read_from_istios_grammar() {
        let role = |id: &str| Proxy::from_node(Some(&node(id))).unwrap().role;
        assert_eq!(role("sidecar~10.0.0.1~a.b~b.svc.cluster.local"), Role::Sidecar);
        assert_eq!(role("ingress~10.0.0.1~a.b~b.svc"), Role::Ingress);
        assert_eq!(role("router~10.0.0.1~a.b~b.svc"), Role::Router);
        for other in ["test-id", "mixer~10.0.0.1~a~b", "sidecar~10.0.0.1", "sidecar~a~b~c~d"] {
            assert_eq!(role(other), Role::Router, "{other}");
        }
    }

    #[test]
    fn an_address_in_istios_grammar_is_the_workloads_unless_it_is_everybodys() {
        let address = |id: &str| Proxy::from_node(Some(&node(id))).unwrap().address;
        let known = |text: &str| Some(text.parse().unwrap());
        assert_eq!(address("sidecar~10.9.0.7~a.b~b.svc"), known("10.9.0.7"));
        assert_eq!(address("router~fd00::7~a.b~b.svc"), known("fd00::7"));
        assert_eq!(address("router~::ffff:10.9.0.7~a.b~b.svc"), known("10.9.0.7"));
        for nobody in
            ["127.0.0.1", "127.0.0.53", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "", "web", "10.9.0.7:80"]
        {
            assert_eq!(address(&format!("sidecar~{nobody}~a.b~b.svc")), None, "{nobody}");
        }
        for other in ["10.9.0.7", "mixer~10.9.0.7~a~b", "sidecar~10.9.0.7", "sidecar~10.9.0.7~b~c~d"] {
            assert_eq!(address(other), None, "{other}");
        }
    }

    #[test]
    fn a_node_without_an_id_is_named_by_its_peer() {
        let peer = Some("[fd00::7]:41234".parse().unwrap());
        let nameless = Node { user_agent_name: "gRPC".into(), ..Node::default() };
        let proxy = Proxy::from_node(Some(&named(&nameless, peer))).unwrap();
        assert_eq!((&*proxy.id, &*proxy.user_agent), ("[fd00::7]:41234", "gRPC"));
        assert_eq!(named(&nameless, None).id, "unnamed");
        assert_eq!(named(&node("laptop"), peer).id, "laptop");
    }

    #[test]
    fn nodes_without_a_usable_id_are_refused() {
        assert_eq!(Proxy::from_node(None), Err(NodeError::Missing));
        assert_eq!(Proxy::from_node(Some(&node(""))), Err(NodeError::NoId));
    }

    fn saying(id: &str, kind: Kind) -> Node {
        let value = Value { kind: Some(kind) };
        Node { metadata: Some(Struct { fields: [("NAMESPACE".into(), value)].into() }), ..node(id) }
    }

    #[test]
    fn a_namespace_is_said_or_begins_the_domain_of_an_id() {
        let namespace = |node: Node| {
            let namespace = Proxy::from_node(Some(&node)).unwrap().namespace;
            namespace.map_or_else(String::new, String::from)
        };
        for (id, expected) in [
            ("sidecar~10.0.0.1~cart~shop.svc.cluster.local", "shop"),
            ("router~127.0.0.1~laptop~shop.mesh", "shop"),
            ("router~127.0.0.1~laptop~mesh", ""),
            ("router~127.0.0.1~laptop~.svc", ""),
            ("router~127.0.0.1~laptop~a b.svc", ""),
            ("mixer~127.0.0.1~laptop~shop.mesh", ""),
            ("laptop.shop.mesh", ""),
        ] {
            assert_eq!(namespace(node(id)), expected, "{id}");
        }
        let id = "sidecar~10.0.0.1~cart~shop.svc.cluster.local";
        assert_eq!(namespace(saying(id, Kind::StringValue("bank".into()))), "bank");
        assert_eq!(namespace(saying("laptop", Kind::StringValue("bank".into()))), "bank");
        assert_eq!(namespace(saying(id, Kind::StringValue(String::new()))), "shop");
    }

    #[test]
    fn a_namespace_that_is_none_is_refused() {
        let refusal = |kind| Proxy::from_node(Some(&saying("laptop", kind))).unwrap_err().to_string();
        for (kind, found) in
            [(Kind::StringValue("a b".into()), "is \"a b\": "), (Kind::NumberValue(1.0), "is no text: ")]
        {
            let refusal = refusal(kind);
            assert!(refusal.starts_with(&format!("node.metadata.NAMESPACE {found}")), "{refusal}");
        }
        assert!(refusal(Kind::StringValue("a".repeat(254))).ends_with("has 254 bytes: expected at most 253"));
    }

    #[test]
    fn parts_of_a_node_are_short() {
        let long = |node: Node| match Proxy::from_node(Some(&node)) {
            Err(NodeError::TooLong { part, .. }) => part,
            other => panic!("{other:?}"),
        };
        assert_eq!(long(node(&"a".repeat(1025))), "node.id");
        assert_eq!(long(Node { cluster: "a".repeat(1025), ..node("a") }), "node.cluster");
        let text = |text: String| Value { kind: Some(Kind::StringValue(text)) };
        let metadata = Struct { fields: [("XDS_CLUSTER".into(), text("a".repeat(257)))].into() };
        assert_eq!(long(Node { metadata: Some(metadata), ..node("a") }), "node.metadata.XDS_CLUSTER");
        let talkative = Node { user_agent_name: "ä".repeat(1 << 20), ..node("a") };
        assert_eq!(Proxy::from_node(Some(&talkative)).unwrap().user_agent.len(), 1024);
    }
}
