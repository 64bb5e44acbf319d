//! The default id of an instance.

use std::net::IpAddr;

use pilot_registry::Port;

/// The name of this machine, as the system has it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `host-service-port`, with the address before the port where one was given. It is the same whenever the
/// same instance is started, so that it replaces itself after a crash; instances that could run at the same
/// time on one machine differ in it.
pub fn instance_id(host: &str, service: &str, address: Option<IpAddr>, port: Port) -> String {
    let address = address.map(|ip| format!("{ip}-")).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' };
    format!("{host}-{service}-{address}{port}").chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(service: &str, address: Option<&str>, port: u32) -> String {
        let address = address.map(|ip| ip.parse().unwrap());
        instance_id("box", service, address, Port::try_from(port).unwrap())
    }

    #[test]
    fn instances_on_one_machine_differ() {
        let ids = [
            id("a.mesh", None, 80),
            id("b.mesh", None, 80),
            id("a.mesh", None, 81),
            id("a.mesh", Some("10.0.0.1"), 80),
            id("a.mesh", Some("10.0.0.2"), 80),
        ];
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        assert_eq!(ids[0], "box-a.mesh-80");
    }

    #[test]
    fn an_id_is_plain_whatever_it_is_made_of() {
        assert_eq!(id("a/b c", Some("fd00::1"), 80), "box-a-b-c-fd00--1-80");
    }
}
