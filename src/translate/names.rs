//! Names of resources and domains of virtual hosts. Clusters and listeners are named as Istio names them.

use std::net::{IpAddr, SocketAddr};

use pilot_registry::{Hostname, Port};

/// The listener that routes to every HTTP service by Host header, and its routes.
pub(super) const HTTP_LISTEN: &str = "http_listen";

/// `direction|port|subset|host`; the subset is empty for the whole service.
pub(super) fn cluster(port: Port, subset: &str, host: &Hostname) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `127.0.0.1_9080`.
pub(super) fn listener(at: SocketAddr) -> String {
    format!("{}_{}", at.ip(), at.port())
}

/// `udp_127.0.0.1_53`.
pub(super) fn udp_listener(at: SocketAddr) -> String {
    format!("udp_{}", listener(at))
}

/// Whether a host is, as text, the name of a bound listener: no gRPC listener can have that name.
pub(super) fn is_reserved(host: &Hostname) -> bool {
    let name = host.as_str();
    let bound = name.strip_prefix("udp_").unwrap_or(name).rsplit_once('_');
    name == HTTP_LISTEN
        || bound.is_some_and(|(ip, port)| ip.parse::<IpAddr>().is_ok() && port.parse::<u16>().is_ok())
}

/// An address as it stands in a Host header that names no port.
pub(super) fn ip_domain(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// An address as it stands in a Host header that names a port.
pub(super) fn ip_port_domain(ip: IpAddr, port: Port) -> String {
    SocketAddr::new(ip, port.get()).to_string()
}

/// The default port among these: 80, else the lowest.
pub(super) fn default_of(numbers: impl Iterator<Item = Port>) -> Option<Port> {
    numbers.min_by_key(|number| (number.get() != 80, *number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_istios_scheme() {
        let host: Hostname = "reviews.local".parse().unwrap();
        let port = Port::try_from(9080).unwrap();
        assert_eq!(cluster(port, "", &host), "outbound|9080||reviews.local");
        assert_eq!(cluster(port, "v1", &host), "outbound|9080|v1|reviews.local");
        assert_eq!(listener("127.0.0.1:9080".parse().unwrap()), "127.0.0.1_9080");
        assert_eq!(udp_listener("[::1]:53".parse().unwrap()), "udp_::1_53");
    }

    #[test]
    fn hosts_that_look_like_bound_listeners_are_reserved() {
        let reserved = |name: &str| is_reserved(&name.parse().unwrap());
        for name in ["http_listen", "127.0.0.1_9080", "udp_10.0.0.1_53"] {
            assert!(reserved(name), "{name}");
        }
        for name in ["reviews.local", "a_9080", "127.0.0.1_a", "udp_a", "http-listen"] {
            assert!(!reserved(name), "{name}");
        }
    }
}
