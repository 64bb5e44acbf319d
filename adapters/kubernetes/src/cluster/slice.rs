//! Endpoint slices, as they are stored.

use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{Health, Port, ip_address};

use super::{Interner, Zones};
use crate::objects::{Conditions, Endpoint, EndpointSlice, Hints, Key, Meta};

/// The label that says whose endpoints these are.
const SERVICE: &str = "kubernetes.io/service-name";

/// A family of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of that name in the API: `IPv4`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }
}

/// An endpoint slice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Whose endpoints these are, if any service's.
    pub(crate) service: Option<Key>,
    pub(crate) family: Family,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) members: Vec<Member>,
    /// What was left out.
    pub(crate) notes: Vec<String>,
}

/// A port of all endpoints of a slice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SlicePort {
    /// The name of the service's port.
    pub(crate) name: Arc<str>,
    /// `TCP`, `UDP`, `SCTP`.
    pub(crate) protocol: Arc<str>,
    pub(crate) port: Port,
}

/// An endpoint of a slice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) address: IpAddr,
    pub(crate) health: Health,
    pub(crate) node: Option<Arc<str>>,
    pub(crate) zones: Arc<Zones>,
    pub(crate) pod: Option<Key>,
}

impl Slice {
    /// # Errors
    /// Its addresses are no IP addresses.
    pub(crate) fn new(meta: &Meta, slice: EndpointSlice, interner: &mut Interner) -> Result<Self, String> {
        let kind = &slice.address_type;
        let family = Family::named(kind)
            .ok_or_else(|| format!("addressType {kind:?} is not followed: expected IPv4 or IPv6"))?;
        let service = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE));
        let service = service.filter(|name| !name.is_empty());
        let namespace = interner.text(&meta.namespace);
        let service =
            service.map(|name| Key { namespace: Arc::clone(&namespace), name: interner.text(name) });
        let mut notes = Vec::new();
        let ports = slice.ports.unwrap_or_default();
        let mut port = |port: crate::objects::EndpointPort| {
            // A port without a number stands for all of them, which no service port can be matched with.
            let number = port.port?;
            let checked = Port::try_from(number).map_err(|error| notes.push(error.to_string())).ok()?;
            let name = interner.text(port.name.as_deref().unwrap_or_default());
            let protocol = interner.text(port.protocol.as_deref().unwrap_or("TCP"));
            Some(SlicePort { name, protocol, port: checked })
        };
        let ports = ports.into_iter().filter_map(&mut port).collect();
        let members = slice.endpoints.unwrap_or_default();
        let members = members
            .into_iter()
            .filter_map(|one| Member::new(one, &namespace, interner).map_err(|why| notes.push(why)).ok());
        let mut members: Vec<Member> = members.collect();
        // What is collected from a vector keeps its allocation, which was for more than is kept of each.
        members.shrink_to_fit();
        Ok(Self { service, family, ports, members, notes })
    }
}

impl Member {
    fn new(endpoint: Endpoint, namespace: &Arc<str>, interner: &mut Interner) -> Result<Self, String> {
        // All addresses of one endpoint lead to the same: the first is enough (discovery.k8s.io/v1).
        let text = endpoint.addresses.first().ok_or("an endpoint has no address")?;
        let address: IpAddr = ip_address(text).ok_or_else(|| format!("{text:?} is no IP address"))?;
        if address.is_unspecified() {
            return Err(format!("nothing can be sent to {text}"));
        }
        let pod = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod = pod.and_then(|target| {
            let within = target.namespace.map_or_else(|| Arc::clone(namespace), |text| interner.text(&text));
            Some(Key { namespace: within, name: target.name?.into() })
        });
        let mut shared =
            |text: Option<String>| text.filter(|text| !text.is_empty()).map(|text| interner.text(&text));
        let (node, own) = (shared(endpoint.node_name), shared(endpoint.zone));
        let hinted = shared(hinted(endpoint.hints, own.as_deref()));
        let zones = interner.zones(Zones { own, hinted });
        let health = health(endpoint.conditions.unwrap_or_default());
        Ok(Self { address, health, node, zones, pod })
    }
}

/// One of the zones that an endpoint is meant for, however they are ordered.
fn hinted(hints: Option<Hints>, own: Option<&str>) -> Option<String> {
    let zones = hints?.for_zones?.into_iter().map(|zone| zone.name).filter(|name| !name.is_empty());
    zones.map(|name| (Some(name.as_str()) != own, name)).min().map(|(_, name)| name)
}

/// What is not said counts as ready (discovery.k8s.io/v1, EndpointConditions).
fn health(conditions: Conditions) -> Health {
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    match (conditions.terminating.unwrap_or(false), ready, serving) {
        (true, _, true) => Health::Draining,
        (false, true, _) => Health::Healthy,
        _ => Health::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_become_health() {
        let of = |ready, serving, terminating| health(Conditions { ready, serving, terminating });
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(of(None, None, None), Health::Healthy);
        assert_eq!(of(yes, yes, no), Health::Healthy);
        assert_eq!(of(no, no, no), Health::Unhealthy);
        assert_eq!(of(no, yes, yes), Health::Draining);
        assert_eq!(of(no, no, yes), Health::Unhealthy);
        // Old servers do not say "serving".
        assert_eq!(of(no, None, yes), Health::Unhealthy);
    }
}
