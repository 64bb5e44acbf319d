//! Why there is no listener of the name that a client asks for: in words, for the log and `pilot proxies`.

use std::collections::BTreeSet;

use pilot_registry::{Hostname, Resolution};

use crate::catalog::{Catalog, CatalogService};

/// How many characters may differ in a name that is meant, of each four that it has.
const TYPO_SHARE: usize = 4;
/// No host is longer (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 253;

/// What is known of a gRPC client's target (`host` or `host:port`) that is no listener's name; empty where
/// nothing is.
pub(crate) fn of_listener(catalog: &Catalog, name: &str) -> String {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok()),
        None => (name, None),
    };
    if let Some(service) = service(catalog, host) {
        return why_not(service, port);
    }
    match nearest(catalog, host) {
        Some(near) => match port {
            Some(port) => format!("no service has that name; did you mean {near}:{port}?"),
            None => format!("no service has that name; did you mean {near}?"),
        },
        None => "no service has that name".to_owned(),
    }
}

/// The service that has that name, or that alias.
fn service<'a>(catalog: &'a Catalog, host: &str) -> Option<&'a CatalogService> {
    let has = |service: &&CatalogService| service.aliases().iter().any(|alias| alias.as_str() == host);
    let own = catalog.get(host).map(|service| &**service);
    own.or_else(|| catalog.services().iter().map(|service| &**service).find(has))
}

/// Why gRPC clients do not reach the service.
fn why_not(service: &CatalogService, port: Option<u16>) -> String {
    let host = service.host();
    let ports = service.ports().iter().map(|port| format!("{}/{}", port.number, port.protocol.as_str()));
    let ports = ports.collect::<Vec<_>>().join(", ");
    if service.lead().resolution != Resolution::Endpoints {
        return format!("{host} has no endpoints that registries know, and gRPC clients use no others");
    }
    let found = service.ports().iter().find(|known| Some(known.number.get()) == port);
    match (port, found) {
        (_, Some(found)) if !found.protocol.is_http2() => {
            let protocol = found.protocol.as_str();
            format!(
                "port {} of {host} has protocol {protocol}: gRPC clients reach grpc and http2",
                found.number
            )
        }
        (Some(port), None) => format!("{host} has no port {port}: it has {ports}"),
        (None, _) if service.ports().iter().all(|port| !port.protocol.is_http2()) => {
            format!("no port of {host} has protocol grpc or http2: it has {ports}")
        }
        _ if !service.visibility().is_everybody() => {
            format!("{host} is there for clients of {} only", service.visibility())
        }
        _ => format!("another service has the name: see `pilot services {host}`"),
    }
}

/// The name that is most likely meant: one that begins with this, or differs in few characters. Clients choose what
/// they ask for, so it costs no more than a look at the names that are about as long.
fn nearest<'a>(catalog: &'a Catalog, host: &str) -> Option<&'a Hostname> {
    if host.len() > HOST_MAX {
        return None;
    }
    let names: BTreeSet<&Hostname> = catalog
        .services()
        .iter()
        .flat_map(|service| std::iter::once(service.host()).chain(service.aliases()))
        .collect();
    let longer =
        names.iter().find(|name| name.as_str().strip_prefix(host).is_some_and(|it| it.starts_with('.')));
    let distance_max = 1 + host.len() / TYPO_SHARE;
    let near = || {
        let alike = names.iter().filter(|name| name.as_str().len().abs_diff(host.len()) <= distance_max);
        let distances = alike.map(|name| (strsim::osa_distance(host, name.as_str()), name));
        distances.filter(|(distance, _)| *distance <= distance_max).min().map(|(_, name)| name)
    };
    longer.or_else(near).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilot_registry_testkit::{service, snapshot};

    use super::*;
    use crate::catalog::Source;

    #[test]
    fn a_target_that_does_not_exist_is_explained() {
        let reviews = service("reviews.local").alias("reviews.internal").grpc(9000).http(80);
        let reviews = reviews.endpoint("10.0.0.1", 9000).build();
        let web = service("web.local").http(80).endpoint("10.0.0.2", 80).build();
        let own = service("own.local").grpc(80).namespace("shop").export_to(&["."]).build();
        let snapshot = Arc::new(snapshot([own, reviews, web]));
        let source = Source::new("east", 0, snapshot);
        let catalog = Catalog::merge(&[source], &Catalog::default());
        for (name, hint) in [
            ("revews.local:9000", "no service has that name; did you mean reviews.local:9000?"),
            ("reviews", "no service has that name; did you mean reviews.internal?"),
            ("elsewhere.example", "no service has that name"),
            ("", "no service has that name"),
            (&"reviews.loca".repeat(22), "no service has that name"),
            ("reviews.local:9001", "reviews.local has no port 9001: it has 80/http, 9000/grpc"),
            (
                "reviews.local:80",
                "port 80 of reviews.local has protocol http: gRPC clients reach grpc and http2",
            ),
            (
                "reviews.internal:80",
                "port 80 of reviews.local has protocol http: gRPC clients reach grpc and http2",
            ),
            ("own.local:80", "own.local is there for clients of namespace shop only"),
            ("web.local", "no port of web.local has protocol grpc or http2: it has 80/http"),
        ] {
            assert_eq!(of_listener(&catalog, name), hint, "{name}");
        }
    }
}
