//! The default address of an instance: the one by which others reach this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that are nobody's (RFC 5737 §3, RFC 3849 §2): the way to them is the way to everywhere.
const NOBODY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// The address that this machine has on its route outwards: of IPv4 where there is one, else of IPv6. Sends
/// nothing.
///
/// # Errors
/// There is no route, or only one that leads back to this machine.
pub fn outward() -> io::Result<IpAddr> {
    let mut last = None;
    for to in NOBODY {
        match towards(to) {
            Ok(ip) if !ip.is_loopback() && !ip.is_unspecified() => return Ok(ip),
            Ok(ip) => last = Some(io::Error::other(format!("the route outwards begins at {ip}"))),
            Err(error) => last = last.or(Some(error)),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("there is no route outwards")))
}

/// The address from which the system would send to `to`.
fn towards(to: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // Connecting a UDP socket looks up the route and sends nothing. 9 is "discard".
    socket.connect(SocketAddr::new(to, 9))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_this_machine_begins_at_it() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(towards(here).unwrap(), here);
    }

    #[test]
    fn loopback_is_never_the_address_outwards() {
        // Machines without a network have none.
        assert!(outward().map_or(true, |ip| !ip.is_loopback() && !ip.is_unspecified()));
    }
}
