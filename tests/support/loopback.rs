//! Addresses of a test's own, so that tests with fixed ports do not meet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use pilot_registry_testkit::server;

/// An address in 127.0.0.0/8 that no other test of this or another process uses.
///
/// Each test has the usual ports for itself on such an address: 18000 for xDS, 9080 for a service.
pub(crate) fn own_address() -> Ipv4Addr {
    server::own_address().unwrap()
}

/// Whether this machine has an IPv6 loopback address.
pub(crate) fn has_ipv6() -> io::Result<()> {
    TcpListener::bind(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0))).map(drop)
}
