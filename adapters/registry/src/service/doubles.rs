//! Several endpoints at one place: only one of them can be meant.
//!
//! A place is what a proxy connects to for a port of the service: an address and a port, or a Unix socket. A
//! machine that came back under another name is there twice for a while, and so is an endpoint that moves from
//! one list of its platform to another.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::{Endpoint, Health, Port, Weight};

/// Leaves each port of the service at each place to the best endpoint: the healthiest, then the one with the
/// most weight, then the one that serves more ports. Endpoints that serve no port are not there afterwards.
pub(super) fn leave_best(endpoints: &mut Vec<Endpoint>) {
    endpoints.sort_by(|a, b| a.address.cmp(&b.address));
    if endpoints.windows(2).all(|pair| pair[0].address != pair[1].address) {
        return;
    }
    endpoints.sort_by(|a, b| (&a.address, rank(a)).cmp(&(&b.address, rank(b))).then_with(|| a.cmp(b)));
    let (mut address, mut taken) = (None, BTreeSet::<(Port, Option<Port>)>::new());
    endpoints.retain_mut(|endpoint| {
        if address.as_ref() != Some(&endpoint.address) {
            address = Some(endpoint.address.clone());
            taken.clear();
        }
        let place = &endpoint.address;
        endpoint.ports.retain(|service, own| taken.insert((*service, place.own_port(*own))));
        !endpoint.ports.is_empty()
    });
}

/// The smaller, the better.
fn rank(endpoint: &Endpoint) -> (u8, Reverse<Weight>, Reverse<usize>) {
    let health = match endpoint.health {
        Health::Healthy => 0,
        Health::Warning => 1,
        Health::Unknown => 2,
        Health::Draining => 3,
        Health::Unhealthy => 4,
    };
    (health, Reverse(endpoint.weight), Reverse(endpoint.ports.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, health: Health, weight: u32, ports: &[(u32, u32)]) -> Endpoint {
        let port = |number: u32| Port::try_from(number).unwrap();
        let ports = ports.iter().map(|(service, own)| (port(*service), port(*own))).collect();
        let weight = Weight::try_from(weight).unwrap();
        Endpoint { health, weight, ports, ..Endpoint::new(address.parse().unwrap()) }
    }

    fn left(mut endpoints: Vec<Endpoint>) -> Vec<String> {
        leave_best(&mut endpoints);
        let shown = |one: &Endpoint| {
            let ports: Vec<_> = one.ports.iter().map(|(service, own)| format!("{service}={own}")).collect();
            format!("{} {} {:?}", one.address, ports.join(","), one.health)
        };
        endpoints.iter().map(shown).collect()
    }

    #[test]
    fn each_port_is_served_by_the_healthiest_at_its_place() {
        use Health::{Healthy, Unhealthy};
        let old = endpoint("10.0.0.1", Unhealthy, 9, &[(80, 8080)]);
        let new = endpoint("10.0.0.1", Healthy, 1, &[(80, 8080), (90, 9090)]);
        assert_eq!(left(vec![old.clone(), new.clone()]), ["10.0.0.1 80=8080,90=9090 Healthy"]);
        let old = Endpoint { health: Healthy, ..old };
        let new = Endpoint { health: Unhealthy, ..new };
        assert_eq!(left(vec![new, old]), ["10.0.0.1 80=8080 Healthy", "10.0.0.1 90=9090 Unhealthy"]);
    }

    #[test]
    fn other_ports_and_addresses_are_other_places() {
        let all = || {
            vec![
                endpoint("10.0.0.1", Health::Healthy, 1, &[(80, 8080)]),
                endpoint("10.0.0.1", Health::Healthy, 1, &[(80, 8081)]),
                endpoint("10.0.0.2", Health::Unhealthy, 1, &[(80, 8080)]),
            ]
        };
        assert_eq!(left(all()).len(), 3);
        let sockets = vec![
            endpoint("unix:/a", Health::Unknown, 1, &[(80, 1)]),
            endpoint("unix:/a", Health::Healthy, 1, &[(80, 2)]),
        ];
        assert_eq!(left(sockets), ["unix:/a 80=2 Healthy"]);
    }

    #[test]
    fn of_equal_ones_the_heavier_counts_and_then_the_one_that_serves_more() {
        let one = |weight, ports| endpoint("10.0.0.1", Health::Healthy, weight, ports);
        let heavy = left(vec![one(1, &[(80, 80)]), one(2, &[(80, 80), (90, 90)])]);
        assert_eq!(heavy, ["10.0.0.1 80=80,90=90 Healthy"]);
        assert_eq!(left(vec![one(1, &[(80, 80)]), one(1, &[(80, 80), (90, 90)])]), heavy);
    }
}
