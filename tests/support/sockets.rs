//! What the kernel knows of TCP connections over IPv4.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// An established connection, as one of its ends has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Socket {
    pub(crate) local: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,
    /// When the next probe is sent, if one is.
    pub(crate) probe_in: Option<Duration>,
}

const ESTABLISHED: &str = "01";
const KEEPALIVE_TIMER: &str = "02";

/// All of this network namespace: `/proc/net/tcp`.
pub(crate) fn established() -> Vec<Socket> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (timer, due) = fields.get(5)?.split_once(':')?;
    let due = u64::from_str_radix(due, 16).ok()?;
    // The kernel counts in hundredths of a second there.
    let probe_in = (timer == KEEPALIVE_TIMER).then(|| Duration::from_millis(due * 10));
    let is_established = *fields.get(3)? == ESTABLISHED;
    is_established.then_some(Socket { local: address(fields[1])?, remote: address(fields[2])?, probe_in })
}

fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    Some(SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_str_radix(port, 16).ok()?))
}
