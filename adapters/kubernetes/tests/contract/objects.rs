//! A service of the model as the objects of a cluster, and what of it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_registry::{Address, Endpoint, Health, Hostname, Port, Protocol, Resolution, Service, SpiffeId};
use serde_json::{Value, json};

/// The trust domain of identities.
pub(crate) const TRUST_DOMAIN: &str = "mesh.local";

/// Resource and object.
pub(crate) type Object = (&'static str, Value);

/// Resource, namespace and name; what has no namespace has an empty one.
pub(crate) type Place = (&'static str, String, String);

/// Where an object is.
pub(crate) fn place(object: &Object) -> Place {
    let text = |key: &str| object.1["metadata"][key].as_str().unwrap_or_default().to_owned();
    (object.0, text("namespace"), text("name"))
}

/// What a registry of the cluster says of that service.
pub(crate) fn as_seen(service: &Service) -> Arc<Service> {
    let mut spec = service.clone().into_spec();
    let (name, namespace) = (name(&service.host).to_owned(), service.namespace.as_str().to_owned());
    let short = [format!("{name}.{namespace}.svc"), format!("{name}.{namespace}")];
    spec.host = format!("{}.cluster.local", short[0]).parse().unwrap();
    spec.aliases = short.map(|alias| alias.parse().unwrap()).to_vec();
    spec.local_names = vec![name.parse().unwrap()];
    match external_name(service) {
        Some(name) => {
            let endpoint = Endpoint::new(Address::Dns(name.clone()));
            let same = |endpoint: Endpoint, port: &Port| endpoint.serving(*port, *port);
            let numbers: Vec<Port> = spec.ports.iter().map(|port| port.number).collect();
            spec.endpoints = vec![numbers.iter().fold(endpoint, same)];
            spec.virtual_addresses.clear();
        }
        None => {
            spec.resolution = Resolution::Endpoints;
            spec.endpoints.retain(|endpoint| matches!(endpoint.address, Address::Ip(_)));
            spec.endpoints.iter_mut().for_each(|endpoint| reduce(endpoint, &namespace));
        }
    }
    spec.identities = spec.endpoints.iter().filter_map(|endpoint| endpoint.identity.clone()).collect();
    Arc::new(Service::new(spec).unwrap())
}

fn reduce(endpoint: &mut Endpoint, namespace: &str) {
    endpoint.identity = account(endpoint).map(|account| {
        format!("spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}").parse::<SpiffeId>().unwrap()
    });
    endpoint.health = match endpoint.health {
        Health::Warning | Health::Unknown => Health::Healthy,
        health => health,
    };
    endpoint.locality.sub_zone.clear();
}

/// The objects of a service: nodes, pods, slices, and itself.
pub(crate) fn objects(service: &Service, backwards: bool) -> Vec<Object> {
    let mut objects = Vec::new();
    if external_name(service).is_none() {
        let ips = |endpoint: &&Endpoint| matches!(endpoint.address, Address::Ip(_));
        let endpoints: Vec<(usize, &Endpoint)> = service.endpoints.iter().filter(ips).enumerate().collect();
        objects.extend(endpoints.iter().filter_map(|(_, endpoint)| node(endpoint)));
        objects.extend(endpoints.iter().filter_map(|(at, endpoint)| pod(service, *at, endpoint)));
        objects.extend(slices(service, &endpoints, backwards));
    }
    objects.push(("services", itself(service)));
    objects
}

/// The name of a service: the first label of its host.
pub(crate) fn name(host: &Hostname) -> &str {
    host.as_str().split('.').next().unwrap()
}

fn external_name(service: &Service) -> Option<&Hostname> {
    let first = service.endpoints.iter().find_map(|endpoint| match &endpoint.address {
        Address::Dns(name) => Some(name),
        _ => None,
    });
    first.filter(|_| service.resolution == Resolution::Dns)
}

/// Endpoints of which there is more to say than slices can have pods.
fn account(endpoint: &Endpoint) -> Option<&str> {
    match &endpoint.identity {
        Some(id) => id.as_str().rsplit('/').next(),
        None if endpoint.labels.is_empty() && endpoint.weight.get() == 1 => None,
        None => Some("default"),
    }
}

fn pod_name(service: &Service, at: usize) -> String {
    format!("{}-{at}", name(&service.host))
}

fn pod(service: &Service, at: usize, endpoint: &Endpoint) -> Option<Object> {
    let account = account(endpoint)?;
    let mut metadata = json!({
        "namespace": service.namespace.as_str(), "name": pod_name(service, at), "labels": endpoint.labels,
    });
    if endpoint.weight.get() != 1 {
        metadata["annotations"] = json!({ "pilot/weight": endpoint.weight.get().to_string() });
    }
    let spec = json!({
        "serviceAccountName": account, "containers": [{ "name": "app", "image": "app:1" }],
        "automountServiceAccountToken": false,
    });
    Some(("pods", json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })))
}

fn node_name(endpoint: &Endpoint) -> Option<String> {
    let locality = &endpoint.locality;
    (!locality.region.is_empty() || !locality.zone.is_empty())
        .then(|| format!("node-{}-{}", locality.region, locality.zone).trim_end_matches('-').to_owned())
}

fn node(endpoint: &Endpoint) -> Option<Object> {
    let labels = json!({
        "topology.kubernetes.io/region": endpoint.locality.region,
        "topology.kubernetes.io/zone": endpoint.locality.zone,
    });
    let metadata = json!({ "name": node_name(endpoint)?, "labels": labels });
    Some(("nodes", json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata })))
}

/// Endpoints of one slice have one family and the same ports. A slice keeps its family: it is part of its
/// name here.
fn slices(service: &Service, endpoints: &[(usize, &Endpoint)], backwards: bool) -> Vec<Object> {
    let mut groups: BTreeMap<(bool, &BTreeMap<Port, Port>), Vec<Value>> = BTreeMap::new();
    for (at, endpoint) in endpoints {
        let Address::Ip(ip) = endpoint.address else { continue };
        groups.entry((ip.is_ipv4(), &endpoint.ports)).or_default().push(member(service, *at, endpoint));
    }
    // The order is not part of the name: what is written in another order replaces what was there.
    let mut groups: Vec<_> = groups.into_iter().enumerate().collect();
    if backwards {
        groups.reverse();
        groups.iter_mut().for_each(|(_, (_, members))| members.reverse());
    }
    let mut slices = Vec::new();
    for (at, ((ipv4, ports), members)) in groups {
        let family = if ipv4 { "IPv4" } else { "IPv6" };
        let slice_name = format!("{}-{}-{at}", name(&service.host), family.to_lowercase());
        let metadata = json!({
            "namespace": service.namespace.as_str(), "name": slice_name,
            "labels": { "kubernetes.io/service-name": name(&service.host) },
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": family,
            "ports": ports.iter().map(|(number, own)| slice_port(service, *number, *own)).collect::<Vec<_>>(),
            "endpoints": members,
        });
        slices.push(("endpointslices", slice));
    }
    slices
}

fn slice_port(service: &Service, number: Port, own: Port) -> Value {
    let port = service.port(number).unwrap();
    json!({ "name": port.name, "port": own.get(), "protocol": transport(port.protocol) })
}

fn member(service: &Service, at: usize, endpoint: &Endpoint) -> Value {
    let (ready, serving, terminating) = match endpoint.health {
        Health::Unhealthy => (false, false, false),
        Health::Draining => (false, true, true),
        _ => (true, true, false),
    };
    let mut member = json!({
        "addresses": [endpoint.address.to_string()],
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
    });
    if account(endpoint).is_some() {
        let (namespace, name) = (service.namespace.as_str(), pod_name(service, at));
        member["targetRef"] = json!({ "kind": "Pod", "namespace": namespace, "name": name });
    }
    if let Some(node) = node_name(endpoint) {
        member["nodeName"] = node.into();
    }
    if !endpoint.locality.zone.is_empty() {
        member["zone"] = endpoint.locality.zone.as_str().into();
    }
    member
}

fn itself(service: &Service) -> Value {
    let ports = service.ports.iter().map(|port| {
        let mut value =
            json!({ "name": port.name, "port": port.number.get(), "protocol": transport(port.protocol) });
        if port.protocol != Protocol::Udp {
            value["appProtocol"] = port.protocol.as_str().into();
        }
        value
    });
    let mut spec = json!({ "ports": ports.collect::<Vec<_>>() });
    match (external_name(service), service.virtual_addresses.as_slice()) {
        (Some(name), _) => {
            spec["type"] = "ExternalName".into();
            spec["externalName"] = name.as_str().into();
        }
        (None, []) => spec["clusterIP"] = "None".into(),
        (None, several @ [first, ..]) => {
            spec["clusterIP"] = json!(first);
            spec["clusterIPs"] = json!(several);
            spec["ipFamilyPolicy"] =
                if several.len() > 1 { "RequireDualStack" } else { "SingleStack" }.into();
        }
    }
    let metadata = json!({
        "namespace": service.namespace.as_str(), "name": name(&service.host), "labels": service.labels,
    });
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })
}

fn transport(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Udp { "UDP" } else { "TCP" }
}
