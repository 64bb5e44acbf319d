//! Ports and addresses that a test has for itself.
//!
//! A server is told its ports before it opens them. Until it does, somebody else could take one: another role of
//! the same server, a server of another test process, or any outgoing connection, to which the system gives a
//! port of its ephemeral range. So ports come from outside of that range, in blocks. A process claims a block for
//! as long as it lives, and hands out each port of it once.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::net::TcpSocket;

/// How many ports a process claims at a time.
const BLOCK: u16 = 100;

/// Below are ports of services that a machine may have.
const LOWEST: u16 = 10_000;

/// Where the system hands out its own ports, unless it says otherwise.
const EPHEMERAL: Range<u16> = 32_768..61_000;

/// An address on 127.0.0.1 that nobody else is given while this process lives, and on which nobody listens now,
/// neither for TCP nor for UDP.
///
/// # Errors
/// All ports are claimed.
pub fn free_address() -> Result<SocketAddr> {
    static LEFT: Mutex<Range<u16>> = Mutex::new(0..0);
    let mut left = LEFT.lock();
    loop {
        let Some(port) = left.next() else {
            *left = block()?;
            continue;
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if bound(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
}

/// A TCP socket at that address, on which nobody else listens. It does not listen either: a child process that is
/// being started at this moment has a copy of it until it runs its program, and a copy that listens would keep the
/// port taken for that long.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// An address in 127.0.0.0/8 that no other test of this or another process is given. On it a test has all ports
/// for itself, also those with fixed numbers.
///
/// # Errors
/// All addresses are claimed.
pub fn own_address() -> Result<Ipv4Addr> {
    /// The claimed network 127.high.low.0/24, and the hosts of it that are left.
    static LEFT: Mutex<((u8, u8), Range<u8>)> = Mutex::new(((0, 0), 0..0));
    let mut left = LEFT.lock();
    let host = match left.1.next() {
        Some(host) => host,
        None => {
            // Without 0 and 255, which are no hosts.
            *left = (network()?, 2..255);
            1
        }
    };
    let (high, low) = left.0;
    Ok(Ipv4Addr::new(127, high, low, host))
}

/// The ports of a block that is this process's from now on.
fn block() -> Result<Range<u16>> {
    let range = outside(ephemeral());
    let blocks = (range.end - range.start) / BLOCK;
    for n in shuffled(blocks) {
        let first = range.start + n * BLOCK;
        if claim(&format!("ports-{first}"))? {
            return Ok(first..first + BLOCK);
        }
    }
    bail!("all ports from {} to {} are claimed by tests that run", range.start, range.end)
}

fn network() -> Result<(u8, u8)> {
    for n in shuffled(u16::MAX) {
        let [high, low] = n.to_be_bytes();
        // 127.0.0.0/16 has the usual 127.0.0.1.
        if high > 0 && claim(&format!("network-127.{high}.{low}"))? {
            return Ok((high, low));
        }
    }
    bail!("all of 127.0.0.0/8 is claimed by tests that run")
}

/// The numbers below `count`; each process begins elsewhere, so that what one has just left rests a while.
fn shuffled(count: u16) -> impl Iterator<Item = u16> {
    let count = count.max(1);
    let first = u16::try_from(std::process::id() % u32::from(count)).unwrap_or_default();
    (first..count).chain(0..first)
}

/// Ports that the system gives to nobody by itself.
fn outside(ephemeral: Range<u16>) -> Range<u16> {
    if ephemeral.start >= LOWEST + BLOCK {
        LOWEST..ephemeral.start
    } else if ephemeral.end < u16::MAX - BLOCK {
        ephemeral.end..u16::MAX
    } else {
        // There are none: what is left is that nobody else is given them by us.
        LOWEST..EPHEMERAL.start
    }
}

/// ip(7), `ip_local_port_range`.
fn ephemeral() -> Range<u16> {
    let said = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = said.split_whitespace().filter_map(|end| end.parse().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => first..last,
        _ => EPHEMERAL,
    }
}

/// Whether that name is this process's from now on. A socket of that name holds it, in the abstract namespace: it
/// leaves no file behind, and the system takes it away with the process, however that ends.
fn claim(name: &str) -> Result<bool> {
    static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let address = UnixAddress::from_abstract_name(format!("pilot-test-{name}"))?;
    match UnixListener::bind_addr(&address) {
        Ok(socket) => {
            HELD.lock().push(socket);
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error).with_context(|| format!("claiming {name}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_are_handed_out_once_to_all_threads_and_none_is_ephemeral() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| (0..50).map(|_| free_address().unwrap().port()).collect::<Vec<_>>())
            })
            .collect();
        let ports: Vec<u16> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 4 * 50, "{ports:?}");
        let ephemeral = ephemeral();
        assert!(ports.iter().all(|port| !ephemeral.contains(port)), "{ports:?} {ephemeral:?}");
    }

    #[test]
    fn a_port_that_is_in_use_is_not_handed_out() {
        let next = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // The next ones of the block, unless another test of this process is given them first.
        let taken = free_address().unwrap().port();
        let held: Vec<_> = (taken + 1..taken + 20)
            .filter_map(|port| UdpSocket::bind(next(port)).ok().map(|socket| (port, socket)))
            .collect();
        let given: BTreeSet<u16> = (0..20).map(|_| free_address().unwrap().port()).collect();
        assert!(held.iter().all(|(port, _)| !given.contains(port)), "{given:?} {held:?}");
    }

    #[test]
    fn a_copy_of_the_socket_that_asked_keeps_no_port_and_one_that_listens_does() {
        let address = free_address().unwrap();
        let copy = bound(address).unwrap();
        let listener = std::net::TcpListener::bind(address).expect("the copy does not listen");
        drop(copy);
        assert!(bound(address).is_err(), "{listener:?}");
    }

    /// What another process has claimed, in whatever way it goes on.
    #[test]
    fn what_is_claimed_is_nobody_elses() {
        let name = format!("of-a-test-{}", std::process::id());
        assert!(claim(&name).unwrap());
        assert!(!claim(&name).unwrap());
    }

    #[test]
    fn ports_are_below_or_above_those_that_the_system_hands_out() {
        assert_eq!(outside(32_768..60_999), 10_000..32_768);
        assert_eq!(outside(1_024..50_000), 50_000..65_535);
        assert_eq!(outside(1_024..65_535), 10_000..32_768);
    }

    #[test]
    fn each_test_has_an_address_of_its_own() {
        // More than one network of 256 has.
        let addresses: BTreeSet<Ipv4Addr> = (0..600).map(|_| own_address().unwrap()).collect();
        assert_eq!(addresses.len(), 600);
        assert!(addresses.iter().all(|address| ![0, 255].contains(&address.octets()[3])));
        assert!(addresses.iter().all(|address| address.is_loopback() && address.octets()[1] > 0));
    }
}
