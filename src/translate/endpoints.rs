//! Endpoints of one port of a service: grouped by priority and locality, in canonical order.
//!
//! - Priorities are the registries'; among endpoints of one registry priority, those that the guard holds come
//!   last; then their distance from the proxy counts (`nearness.rs`). Made dense: Envoy and gRPC want 0, 1, 2 … without
//!   gaps.
//! - An address that several registries know counts once, as the preferred one says: gRPC refuses
//!   duplicates.
//! - A locality weighs what its endpoints weigh together, so that clients which choose the locality first
//!   (gRPC) send each endpoint its share. gRPC ignores localities without weight. Where a document gives places
//!   shares, a locality weighs that, and those without one are left out.
//! - `warning` becomes DEGRADED: Envoy uses such endpoints when too few others are left; gRPC does not use
//!   them.
//! - Where no endpoint can serve, `[mesh] panic` decides whether those that are unhealthy are tried.
//! - Labels are metadata under `envoy.lb`, where subsets look for them; the identity is under `pilot`.

use std::collections::{BTreeMap, BTreeSet};

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::endpoint::v3 as endpoint;
use pilot_envoy_api::google::protobuf as wkt;
use pilot_registry::{Address, Endpoint, Health, Locality, Port, ServicePort};

use super::context::Lens;
use super::nearness::{divide, has_share};
use super::reachable::{fits, refusal};
use super::source::{socket_address, uint32};
use crate::catalog::{CatalogService, Part};
use crate::rules::kinds::Distribute;

/// Envoy's largest priority.
const MAX_PRIORITY: u32 = 128;

/// The weights of one priority may not add up to more than a `u32`. Half of it leaves room for those that
/// are rounded up to 1.
const MAX_TOTAL_WEIGHT: u64 = (u32::MAX / 2) as u64;

type Groups<'a> = BTreeMap<(u32, &'a Locality), Vec<(&'a Endpoint, Port)>>;

/// The load assignment of one port. An endpoint that is `http_listen` is left out. Without endpoints it is
/// empty, which says: known to be empty.
pub(super) fn load_assignment(
    cluster: &str,
    service: &CatalogService,
    port: &ServicePort,
    lens: &Lens<'_>,
) -> endpoint::ClusterLoadAssignment {
    let mut groups = groups(service, port, lens);
    let scales = scales(&groups);
    let localities = groups.iter_mut().map(|((priority, locality), members)| {
        let scale = scales.get(priority).copied().unwrap_or(1);
        locality_endpoints(*priority, locality, members, scale)
    });
    let mut localities: Vec<_> = localities.collect();
    if let Some(shares) = lens.nearness.shares(lens.place) {
        weigh(&mut localities, &groups, shares);
    }
    if lens.serves_unhealthy {
        try_unhealthy(&mut localities);
    }
    endpoint::ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: localities,
        ..Default::default()
    }
}

/// Localities, which are those of the groups, in the same order, weigh what a document says.
fn weigh(localities: &mut [endpoint::LocalityLbEndpoints], groups: &Groups<'_>, shares: &Distribute) {
    let priorities: BTreeSet<u32> = groups.keys().map(|(priority, _)| *priority).collect();
    let of = |of: u32| {
        groups.iter().filter(move |((priority, _), _)| *priority == of).map(|((_, locality), members)| {
            let weight = members.iter().map(|(endpoint, _)| u64::from(endpoint.weight.get())).sum();
            (*locality, weight)
        })
    };
    let weights: BTreeMap<u32, _> = priorities.into_iter().map(|it| (it, divide(shares, of(it)))).collect();
    for (made, (priority, locality)) in localities.iter_mut().zip(groups.keys()) {
        made.load_balancing_weight = weights[priority].get(locality).copied().and_then(uint32);
    }
}

/// Where no endpoint can serve, those that are unhealthy become of unknown health, and so are tried. Draining ones
/// are not: somebody wants them to end.
fn try_unhealthy(localities: &mut [endpoint::LocalityLbEndpoints]) {
    let (unhealthy, draining) = (core::HealthStatus::Unhealthy as i32, core::HealthStatus::Draining as i32);
    let mut all = localities.iter().flat_map(|locality| &locality.lb_endpoints);
    if all.all(|one| one.health_status == unhealthy || one.health_status == draining) {
        let all = localities.iter_mut().flat_map(|locality| &mut locality.lb_endpoints);
        for one in all.filter(|one| one.health_status == unhealthy) {
            one.health_status = core::HealthStatus::Unknown.into();
        }
    }
}

/// The load assignment of a service that the proxy resolves by its own host.
pub(super) fn own_host(
    cluster: &str,
    service: &CatalogService,
    port: Port,
) -> endpoint::ClusterLoadAssignment {
    let own = Endpoint::new(Address::Dns(service.host().clone()));
    endpoint::ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![locality_endpoints(0, &own.locality, &mut [(&own, port)], 1)],
        ..Default::default()
    }
}

/// Whether the endpoints of a port have other priorities, or shares, through this lens than from nowhere.
pub(super) fn are_seen_differently(service: &CatalogService, port: &ServicePort, lens: &Lens<'_>) -> bool {
    let priorities = |lens: &Lens<'_>| -> Vec<u32> {
        served(service, port, lens).into_iter().map(|(priority, ..)| priority).collect()
    };
    let nowhere = lens.at_nowhere();
    let has_other_shares = lens.nearness.shares(lens.place) != nowhere.nearness.shares(nowhere.place);
    has_other_shares || priorities(lens) != priorities(&nowhere)
}

fn groups<'a>(service: &'a CatalogService, port: &ServicePort, lens: &Lens<'_>) -> Groups<'a> {
    let mut groups = Groups::new();
    for (priority, endpoint, own) in served(service, port, lens) {
        groups.entry((priority, &endpoint.locality)).or_default().push((endpoint, own));
    }
    groups
}

/// The endpoints that serve a port, each once, with their priorities.
fn served<'a>(
    service: &'a CatalogService,
    port: &ServicePort,
    lens: &Lens<'_>,
) -> Vec<(u32, &'a Endpoint, Port)> {
    let mut seen = BTreeSet::new();
    let shares = lens.nearness.shares(lens.place);
    let serving = |(part, endpoint): (&Part, &'a Endpoint)| {
        let own = endpoint.ports.get(&port.number).copied().filter(|_| fits(service, endpoint))?;
        let has = |(key, value): (&String, &String)| endpoint.labels.get(key) == Some(value);
        if lens.labels.is_some_and(|labels| !labels.iter().all(has)) {
            return None;
        }
        if refusal(port, endpoint, own, lens.http_listen).is_some() {
            return None;
        }
        let rank = (part.priority, part.is_held(endpoint), lens.nearness.distance(lens.place, endpoint));
        if !seen.insert((&endpoint.address, own)) {
            return None;
        }
        shares.is_none_or(|shares| has_share(shares, endpoint)).then_some((rank, endpoint, own))
    };
    // An endpoint that one registry holds and another one says is there.
    let (held, said): (Vec<_>, Vec<_>) = service.endpoints().partition(|(part, it)| part.is_held(it));
    let found: Vec<_> = said.into_iter().chain(held).filter_map(serving).collect();
    // Only of what is left: a registry whose endpoints are all another's, too, would leave a gap.
    let ranks: BTreeSet<_> = found.iter().map(|(rank, ..)| *rank).collect();
    let dense: BTreeMap<_, u32> =
        ranks.into_iter().zip((0..=MAX_PRIORITY).chain(std::iter::repeat(MAX_PRIORITY))).collect();
    found.into_iter().map(|(rank, endpoint, own)| (dense[&rank], endpoint, own)).collect()
}

/// By what the weights of each priority are divided.
fn scales(groups: &Groups<'_>) -> BTreeMap<u32, u64> {
    let mut totals = BTreeMap::<u32, u64>::new();
    for ((priority, _), members) in groups {
        let weight: u64 = members.iter().map(|(endpoint, _)| u64::from(endpoint.weight.get())).sum();
        *totals.entry(*priority).or_default() += weight;
    }
    totals.into_iter().map(|(priority, total)| (priority, total.div_ceil(MAX_TOTAL_WEIGHT))).collect()
}

fn locality_endpoints(
    priority: u32,
    locality: &Locality,
    members: &mut [(&Endpoint, Port)],
    scale: u64,
) -> endpoint::LocalityLbEndpoints {
    members.sort();
    let weight = |endpoint: &Endpoint| {
        u32::try_from((u64::from(endpoint.weight.get()) / scale.max(1)).max(1)).unwrap_or(u32::MAX)
    };
    let total = members.iter().fold(0u32, |sum, (endpoint, _)| sum.saturating_add(weight(endpoint)));
    let locality = core::Locality {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        sub_zone: locality.sub_zone.clone(),
    };
    let lb_endpoints = members.iter().map(|(endpoint, port)| lb_endpoint(endpoint, *port, weight(endpoint)));
    endpoint::LocalityLbEndpoints {
        locality: Some(locality),
        lb_endpoints: lb_endpoints.collect(),
        load_balancing_weight: uint32(total),
        priority,
        ..Default::default()
    }
}

fn lb_endpoint(one: &Endpoint, port: Port, weight: u32) -> endpoint::LbEndpoint {
    let address = address(&one.address, port);
    let host = endpoint::Endpoint { address: Some(address), ..Default::default() };
    endpoint::LbEndpoint {
        health_status: health_status(one.health).into(),
        metadata: metadata(one),
        load_balancing_weight: uint32(weight),
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(host)),
    }
}

fn address(address: &Address, port: Port) -> core::Address {
    let socket = |text| socket_address(core::socket_address::Protocol::Tcp, text, port.get());
    match address {
        Address::Ip(ip) => socket(ip.to_string()),
        Address::Dns(name) => socket(name.to_string()),
        Address::Unix(path) => {
            let pipe = core::Pipe { path: path.clone(), ..Default::default() };
            core::Address { address: Some(core::address::Address::Pipe(pipe)) }
        }
    }
}

fn health_status(health: Health) -> core::HealthStatus {
    match health {
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Warning => core::HealthStatus::Degraded,
        Health::Unhealthy => core::HealthStatus::Unhealthy,
        Health::Draining => core::HealthStatus::Draining,
        Health::Unknown => core::HealthStatus::Unknown,
    }
}

fn metadata(endpoint: &Endpoint) -> Option<core::Metadata> {
    let text = |text: &str| wkt::Value { kind: Some(wkt::value::Kind::StringValue(text.to_owned())) };
    let mut filter_metadata = BTreeMap::new();
    if !endpoint.labels.is_empty() {
        let labels = endpoint.labels.iter().map(|(name, value)| (name.clone(), text(value)));
        filter_metadata.insert("envoy.lb".to_owned(), wkt::Struct { fields: labels.collect() });
    }
    if let Some(identity) = &endpoint.identity {
        let fields = [("identity".to_owned(), text(identity.as_str()))].into();
        filter_metadata.insert("pilot".to_owned(), wkt::Struct { fields });
    }
    (!filter_metadata.is_empty()).then(|| core::Metadata { filter_metadata, ..Default::default() })
}
