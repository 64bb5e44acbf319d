//! Addresses of a test's own, so that tests with fixed ports do not meet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

/// An address in 127.0.0.0/8 that no other test of this or another run uses.
///
/// Each test has the usual ports for itself on such an address: 18000 for xDS, 9080 for a service.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 254, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether this machine has an IPv6 loopback address.
pub(crate) fn has_ipv6() -> io::Result<()> {
    TcpListener::bind(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0))).map(drop)
}
