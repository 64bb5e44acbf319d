//! One cluster per service and port, and one per subset that a DestinationRule defines.

use std::time::Duration;

use pilot_envoy_api::envoy::config::cluster::v3::{Cluster, cluster};
use pilot_envoy_api::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use pilot_envoy_api::envoy::extensions::clusters::dns::v3::{DnsCluster, dns_cluster};
use pilot_envoy_api::to_any;
use pilot_registry::{Resolution, ServicePort};

use super::context::{Lens, TranslationContext};
use super::health_checks::health_checks;
use super::rules::{self, Ruled};
use super::source::duration;
use super::upstream::http_options;
use super::{defaults, endpoints, names};
use crate::catalog::CatalogService;
use crate::mesh::{Dns, MeshOptions};

/// A port of a service, or of a part of it.
#[derive(Clone, Copy)]
pub(super) struct ClusterTarget<'a> {
    pub(super) service: &'a CatalogService,
    pub(super) port: &'a ServicePort,
    /// What rules say of the service.
    pub(super) ruled: &'a Ruled,
    /// The subset's name; empty = the whole service.
    pub(super) subset: &'a str,
}

impl<'a> ClusterTarget<'a> {
    /// All of a service: each port, as a whole and by subsets.
    pub(super) fn all(service: &'a CatalogService, ruled: &'a Ruled) -> Vec<Self> {
        let whole = [""].into_iter();
        let subsets = ruled.subsets();
        let names: Vec<&str> = whole.chain(subsets.into_iter().map(|subset| subset.name.as_str())).collect();
        let ports = service.ports().iter();
        ports.flat_map(|port| names.iter().map(move |subset| Self { service, port, ruled, subset })).collect()
    }

    /// Its endpoints, as a document says that they are seen.
    pub(super) fn seen<'b>(self, options: &MeshOptions, lens: &Lens<'b>) -> Lens<'b>
    where
        'a: 'b,
    {
        let labels = self.ruled.subset(self.subset).map(|subset| &subset.labels);
        let nearness = rules::nearness(self.ruled, self.subset, self.port.number, options.prefer_near);
        Lens { labels, nearness, ..*lens }
    }

    /// Its name.
    pub(super) fn name(self) -> String {
        names::cluster(self.port.number, self.subset, self.service.host())
    }
}

/// The cluster of a target. `endpoints`: the name of its load assignment.
pub(super) fn cluster(
    target: ClusterTarget<'_>,
    endpoints: &str,
    context: &TranslationContext<'_>,
) -> Cluster {
    match target.service.lead().resolution {
        Resolution::Endpoints => {
            let cluster = common(target, context.options, context.is_grpc);
            let by_name = cluster::EdsClusterConfig {
                eds_config: Some(context.config_source.clone()),
                service_name: endpoints.to_owned(),
            };
            Cluster { eds_cluster_config: Some(by_name), ..of_type(cluster, cluster::DiscoveryType::Eds) }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            resolved_by_proxy(target, context.options, &context.lens)
        }
        Resolution::Passthrough => {
            let cluster = of_type(
                common(target, context.options, context.is_grpc),
                cluster::DiscoveryType::OriginalDst,
            );
            Cluster { lb_policy: cluster::LbPolicy::ClusterProvided.into(), lb_config: None, ..cluster }
        }
    }
}

fn of_type(cluster: Cluster, discovery: cluster::DiscoveryType) -> Cluster {
    Cluster { cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(discovery.into())), ..cluster }
}

/// The cluster of a port whose names the proxy resolves itself.
pub(super) fn resolved_by_proxy(
    target: ClusterTarget<'_>,
    options: &MeshOptions,
    lens: &Lens<'_>,
) -> Cluster {
    let ClusterTarget { service, port, .. } = target;
    let cluster = common(target, options, false);
    let lens = target.seen(options, lens);
    let assignment = match service.endpoints().next() {
        None => endpoints::own_host(&cluster.name, service, port.number),
        Some(_) => endpoints::load_assignment(&cluster.name, service, port, &lens),
    };
    // Envoy takes no other number.
    let endpoints = assignment.endpoints.iter().map(|locality| locality.lb_endpoints.len()).sum::<usize>();
    let is_one = service.lead().resolution == Resolution::DnsRoundRobin && endpoints == 1;
    Cluster {
        load_assignment: Some(assignment),
        cluster_discovery_type: Some(by_dns(&options.traffic.dns, is_one)),
        ..cluster
    }
}

/// Names are resolved as often as their records say. When that fails, the addresses of before stay. `is_one`: new
/// connections go to one address at a time.
fn by_dns(dns: &Dns, is_one: bool) -> cluster::ClusterDiscoveryType {
    let some = |time: Duration| duration(time).filter(|_| !time.is_zero());
    let config = DnsCluster {
        respect_dns_ttl: true,
        dns_jitter: some(dns.jitter),
        dns_failure_refresh_rate: Some(dns_cluster::RefreshRate {
            base_interval: duration(dns.retry),
            max_interval: duration(dns.max_retry),
        }),
        // Both families resolve on most machines; IPv4 is where most servers listen.
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        all_addresses_in_single_endpoint: is_one,
        ..Default::default()
    };
    cluster::ClusterDiscoveryType::ClusterType(cluster::CustomClusterType {
        name: "envoy.clusters.dns".to_owned(),
        typed_config: Some(to_any(&config)),
    })
}

/// What all clusters have in common. `is_grpc`: it is for gRPC clients, which refuse a way of balancing that they do not
/// know, and have all of them the one in turn.
fn common(target: ClusterTarget<'_>, options: &MeshOptions, is_grpc: bool) -> Cluster {
    let ClusterTarget { service, port, ruled, subset } = target;
    let (protocol, traffic) = (port.protocol, &options.traffic);
    let health_checks = health_checks(service, port);
    let mut cluster = Cluster {
        name: target.name(),
        connect_timeout: duration(options.connect_timeout),
        // An endpoint that its registry takes away is gone, whatever a check says.
        ignore_health_on_host_removal: !health_checks.is_empty(),
        health_checks,
        ..defaults::cluster(protocol, traffic)
    };
    let upstream = defaults::upstream(protocol, traffic);
    if is_grpc {
        cluster.lb_policy = cluster::LbPolicy::RoundRobin.into();
    }
    let (cluster, upstream) = rules::applied(cluster, upstream, ruled, subset, port, service);
    let cluster = if is_grpc { rules::for_grpc_too(cluster) } else { cluster };
    Cluster { typed_extension_protocol_options: http_options(protocol, &upstream), ..cluster }
}
