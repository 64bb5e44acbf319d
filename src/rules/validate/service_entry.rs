//! What no shape can say of a ServiceEntry.

use std::collections::BTreeSet;

use pilot_registry::{Address, Hostname, Protocol};

use super::super::envelope::dns_label;
use super::super::kinds::{EntryResolution, ServiceEntry};
use super::super::node::Path;
use super::workload_entry::endpoint;
use super::{Report, words};

/// Says what is wrong with a ServiceEntry.
pub(in super::super) fn service_entry(entry: &ServiceEntry, report: &mut Report<'_>) {
    let spec = Path::new("spec");
    hosts(entry, &spec.key("hosts"), report);
    ports(entry, &spec.key("ports"), report);
    addresses(entry, &spec.key("addresses"), report);
    words::export_to(&entry.export_to, &spec.key("exportTo"), report);
    resolution(entry, &spec, report);
    endpoints(entry, &spec, report);
    selector(entry, &spec, report);
    let names = spec.key("subjectAltNames");
    for (i, name) in entry.subject_alt_names.iter().enumerate().filter(|(_, name)| name.is_empty()) {
        report.error(&names.index(i), format!("{name:?} is no name: expected one like api.example.com"));
    }
}

fn hosts(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let mut seen = BTreeSet::new();
    for (i, host) in entry.hosts.iter().enumerate() {
        let path = path.index(i);
        if Hostname::or_wildcard(host).is_err() {
            let message = format!(
                "{host:?} is no host: expected a DNS name like api.example.com, or *.example.com for all names that end so"
            );
            report.error(&path, message);
        }
        if !seen.insert(host.to_ascii_lowercase()) {
            report.error(&path, format!("{host:?} is there twice"));
        }
    }
    let is_alone = |protocol: Protocol| !protocol.is_http() && protocol != Protocol::Tls;
    let alone = entry.ports.iter().find(|port| port.spoken().is_some_and(is_alone));
    if let Some(port) = alone
        && entry.hosts.len() > 1
        && entry.resolution() != EntryResolution::None
    {
        let message = format!(
            "connections to port {} do not say which of the hosts they are for, as {} does not: write a document for each \
             host, with addresses",
            port.number, port.protocol
        );
        report.error(path, message);
    }
}

fn ports(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in entry.ports.iter().enumerate() {
        let path = path.index(i);
        if port.spoken().is_none() {
            let message = match port.protocol.to_ascii_uppercase().as_str() {
                "HTTP_PROXY" => {
                    "HTTP_PROXY is how clients call a proxy, and not what a service speaks: write \
                                 [router] http_listen in pilot.toml"
                        .to_owned()
                }
                _ => format!(
                    "{:?} does not fit: expected one of HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL, \
                     UDP",
                    port.protocol
                ),
            };
            report.error(&path.key("protocol"), message);
        }
        report.check(&path.key("name"), dns_label(&port.name));
        if !numbers.insert(port.number) {
            report.error(&path.key("number"), format!("port {} is there twice", port.number));
        }
        if !names.insert(&port.name) {
            report.error(&path.key("name"), format!("port {:?} is there twice", port.name));
        }
    }
}

fn addresses(entry: &ServiceEntry, path: &Path<'_>, report: &mut Report<'_>) {
    for (i, address) in entry.addresses.iter().enumerate() {
        let path = path.index(i);
        match ServiceEntry::virtual_address(address) {
            Ok(_) if entry.hosts.iter().any(|host| host.starts_with("*.")) => {
                report.warning(
                    &path,
                    "it stands for all names that the wildcard does, and does not tell them apart",
                );
            }
            Ok(_) => {}
            Err(why) => report.error(&path, why),
        }
    }
}

fn resolution(entry: &ServiceEntry, spec: &Path<'_>, report: &mut Report<'_>) {
    let path = spec.key("resolution");
    match entry.resolution() {
        EntryResolution::None => report.warning(
            &path,
            "NONE, which is also what no resolution means, sends to the address that a client called, which proxies do not \
             know without traffic capture: no proxy serves this service. Write DNS to have its name resolved",
        ),
        EntryResolution::DynamicDns => {
            report.error(&path, "DYNAMIC_DNS is not served yet: write DNS, and a document for each host");
        }
        EntryResolution::Dns | EntryResolution::DnsRoundRobin
            if entry.endpoints.is_empty() && entry.workload_selector.is_none() =>
        {
            let hosts = spec.key("hosts");
            for (i, host) in entry.hosts.iter().enumerate().filter(|(_, host)| host.starts_with("*.")) {
                let message = format!("{host:?} is no name that can be resolved: write endpoints");
                report.error(&hosts.index(i), message);
            }
        }
        EntryResolution::Static if entry.endpoints.is_empty() && entry.workload_selector.is_none() => {
            report.warning(spec, "it has no endpoints: requests to it are answered with 503, unless a registry knows some");
        }
        EntryResolution::Dns | EntryResolution::DnsRoundRobin | EntryResolution::Static => {}
    }
}

fn endpoints(entry: &ServiceEntry, spec: &Path<'_>, report: &mut Report<'_>) {
    let list = spec.key("endpoints");
    let resolution = entry.resolution();
    if entry.endpoints.is_empty() {
        return;
    }
    if resolution == EntryResolution::None {
        report.error(&list, "with resolution NONE there are no endpoints: write STATIC or DNS");
    }
    if resolution == EntryResolution::DnsRoundRobin && entry.endpoints.len() > 1 {
        report.error(&list, "DNS_ROUND_ROBIN resolves one name: write one endpoint, or DNS");
    }
    for (i, one) in entry.endpoints.iter().enumerate() {
        let path = list.index(i);
        endpoint(one, &path, report);
        let at = path.key("address");
        match (resolution, one.address()) {
            (EntryResolution::Static, Ok(Address::Dns(name))) => {
                report.error(&at, format!("{name} is a name: write an IP address, or resolution: DNS"));
            }
            (EntryResolution::Dns | EntryResolution::DnsRoundRobin, Ok(Address::Unix(_))) => {
                report.error(&at, "a Unix socket is not resolved by DNS: write resolution: STATIC");
            }
            (_, Ok(Address::Unix(_))) if entry.ports.len() > 1 => {
                report.error(&at, "a Unix socket is of one port, and the service has several");
            }
            _ => {}
        }
        let ports = path.key("ports");
        for name in one.ports.keys().filter(|name| entry.ports.iter().all(|port| port.name != **name)) {
            let known: Vec<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
            let message =
                format!("the service has no port of that name: expected one of {}", known.join(", "));
            report.error(&ports.key(name), message);
        }
    }
}

fn selector(entry: &ServiceEntry, spec: &Path<'_>, report: &mut Report<'_>) {
    let Some(selector) = &entry.workload_selector else { return };
    let path = spec.key("workloadSelector");
    words::labels(&selector.labels, &path.key("labels"), report);
    if !entry.endpoints.is_empty() {
        report.error(&path, "endpoints are said, and are not chosen: write the one or the other");
    }
    if entry.resolution() == EntryResolution::None {
        report.error(&path, "with resolution NONE there are no endpoints: write STATIC or DNS");
    }
    if entry.resolution() == EntryResolution::DnsRoundRobin {
        report.error(&path, "DNS_ROUND_ROBIN resolves one name: write one endpoint, or DNS");
    }
    if selector.labels.is_empty() {
        report.warning(&path, "it is empty: all workloads of the namespace are endpoints");
    }
}
